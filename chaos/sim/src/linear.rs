//! Linearizability of one register, over what its clients saw (R12). The search is stateright's.

use stateright::semantics::register::{Register, RegisterOp, RegisterRet};
use stateright::semantics::{ConsistencyTester as _, LinearizabilityTester};

/// In the order in which it happened. A client has one operation at a time; one whose outcome it never learned has no
/// return, and then it does nothing more under that number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// A read, or a write of this value.
    Invoked { client: u64, write: Option<u64> },
    /// What was read; of a write, nothing.
    Returned { client: u64, read: Option<u64> },
}

/// Is there an order of the operations, each between its invocation and its return, in which every read sees what was
/// written last? The register begins with 0.
#[must_use]
pub fn is_linearizable(history: &[Operation]) -> bool {
    let mut tester = LinearizabilityTester::new(Register(0_u64));
    for operation in history {
        let valid = match operation {
            Operation::Invoked { client, write } => {
                let op = write.map_or(RegisterOp::Read, RegisterOp::Write);
                tester.on_invoke(*client, op).is_ok()
            }
            Operation::Returned { client, read } => {
                let ret = read.map_or(RegisterRet::WriteOk, RegisterRet::ReadOk);
                tester.on_return(*client, ret).is_ok()
            }
        };
        // A history that cannot be is none that holds.
        if !valid {
            return false;
        }
    }
    tester.is_consistent()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invoked(client: u64, write: Option<u64>) -> Operation {
        Operation::Invoked { client, write }
    }

    fn returned(client: u64, read: Option<u64>) -> Operation {
        Operation::Returned { client, read }
    }

    #[test]
    fn a_read_sees_what_was_written_before_it() {
        let good = [invoked(1, Some(5)), returned(1, None), invoked(2, None), returned(2, Some(5))];
        assert!(is_linearizable(&good));
        let stale = [invoked(1, Some(5)), returned(1, None), invoked(2, None), returned(2, Some(0))];
        assert!(!is_linearizable(&stale), "a planted stale read");
    }

    #[test]
    fn reads_do_not_go_back() {
        let write = [invoked(1, Some(5))];
        let back = [invoked(2, None), returned(2, Some(5)), invoked(3, None), returned(3, Some(0))];
        assert!(!is_linearizable(&[&write[..], &back[..]].concat()), "a planted read of the past while the write is under way");
        let forth = [invoked(2, None), returned(2, Some(0)), invoked(3, None), returned(3, Some(5))];
        assert!(is_linearizable(&[&write[..], &forth[..]].concat()));
    }

    #[test]
    fn an_outcome_nobody_learned_may_be_either() {
        for seen in [0, 5] {
            assert!(is_linearizable(&[invoked(1, Some(5)), invoked(2, None), returned(2, Some(seen))]));
        }
        assert!(!is_linearizable(&[invoked(1, Some(5)), invoked(2, None), returned(2, Some(6))]), "a planted value from nowhere");
    }

    #[test]
    fn a_lost_write_is_seen() {
        let lost = [invoked(1, Some(5)), returned(1, None), invoked(1, Some(6)), returned(1, None), invoked(2, None), returned(2, Some(5))];
        assert!(!is_linearizable(&lost), "a planted loss of an acknowledged write");
    }
}
