//! Starting over after a loss that no quorum survives.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::node::Node;
use super::{Cluster, Said, binary, said, value_of};

impl Cluster {
    /// `cluster recover` for one node, with this recovery key; from its own data when there is no backup.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn recover_node(&self, node: &Node, backup: Option<&Path>, recovery_key: &str, admin_out: &Path) -> Result<Said> {
        let key = self.dir.path().join("recovery-key");
        std::fs::write(&key, recovery_key)?;
        let mut recover = node.equipped(self.offline());
        recover.args(["cluster", "recover", "--yes", "--admin", "alice", "--config"]).arg(&node.config);
        recover.arg("--admin-out").arg(admin_out).arg("--recovery-key-file").arg(key);
        if let Some(backup) = backup {
            recover.arg("--backup").arg(backup);
        }
        said(&mut recover)
    }

    /// A node with a folder of its own that holds nothing yet.
    ///
    /// # Errors
    /// When its configuration cannot be written.
    pub fn prepare(&self, number: usize) -> Result<Node> {
        let mut node = Node::prepare(number, self.setup.place(number), self.dir.path(), self.setup.tls)?;
        let seen = self.setup.points.map(|_| super::points_file(self.dir.path()));
        node.at_points(self.setup.points.unwrap_or_default(), seen);
        Ok(node)
    }

    /// Goes on as a new incarnation with `first`, which takes over from the backup or from what lies in its folder, and
    /// with two new nodes that join it.
    ///
    /// # Errors
    /// When any of it fails.
    pub fn recover(&mut self, first: Node, backup: Option<&Path>) -> Result<()> {
        let admin = self.dir.path().join("admin-recovered");
        let told = self.recover_node(&first, backup, &self.recovery_key, &admin)?.ok()?;
        self.genesis = value_of(&told, "genesis").with_context(|| told.clone())?;
        self.admin = admin;
        self.nodes = vec![first, self.prepare(5)?, self.prepare(6)?];
        self.nodes[0].start(&binary())?;
        self.nodes[0].ready()?;
        for index in 1..3 {
            self.join(index)?;
        }
        self.settled()
    }
}
