//! Authentication: SCRAM against stored verifiers, or the token itself over TLS.

use domain::refusal::Refusal;
use identity::resolve::{self, Proof};
use identity::scram::{Binding, Exchange, SCRAM_SHA_256_PLUS, ScramError};
use identity::{Identity, Secret, random};

use super::{Auth, Broken, Leg, Listening, Look, Opening};
use crate::codec::backend::write_sasl;
use crate::codec::{Authentication, Backend, frontend};

/// Who the client is, and server-final if there is one to send.
pub(super) async fn identify(
    leg: &mut Leg,
    listening: &Listening,
    opening: &Opening,
    look: Look<'_>,
) -> Result<(Identity, Option<String>), Broken> {
    match listening.auth {
        Auth::Scram => scram(leg, listening, opening, look).await,
        Auth::PasswordOverTls => password(leg, opening, look).await.map(|identity| (identity, None)),
    }
}

async fn scram(leg: &mut Leg, listening: &Listening, opening: &Opening, look: Look<'_>) -> Result<(Identity, Option<String>), Broken> {
    let binding: Binding = listening.binding(&leg.stream);
    write_sasl(&mut leg.out, binding.mechanisms());
    let first = leg.answer().await?;
    let (mechanism, client_first) = frontend::sasl_initial(first.body())?;
    let proof = if mechanism == SCRAM_SHA_256_PLUS { Proof::ScramPlus } else { Proof::Scram };
    let verifiers = {
        let (state, now) = look();
        resolve::scram_verifiers(&state, now, &opening.user, &listening.mock)
    };
    let exchange = Exchange::new(verifiers, binding, random::bytes());
    let failed = |error: ScramError| failed(error, opening, look);
    let (challenged, server_first) = exchange.start(mechanism, client_first).map_err(failed)?;
    ask(leg, Authentication::SaslContinue { data: server_first.as_bytes() })?;
    let last = leg.answer().await?;
    let proven = challenged.finish(frontend::sasl(last.body())).map_err(failed)?;
    // The state of now: a token revoked since the challenge identifies nobody.
    let (state, now) = look();
    let identity = resolve::scram_proven(&state, now, &opening.user, proven.token, proof);
    let identity = identity.map_err(|rejection| Broken::Refused(rejection.into()))?;
    Ok((identity, Some(proven.server_final)))
}

/// Form errors are told as such; everything else looks like a wrong secret, and the record keeps which it was.
fn failed(error: ScramError, opening: &Opening, look: Look<'_>) -> Broken {
    tracing::info!(%error, "SCRAM failed");
    Broken::Refused(match error {
        ScramError::Malformed(_) | ScramError::Mechanism => Refusal::Protocol { message: error.to_string() },
        ScramError::ChannelBinding | ScramError::Nonce | ScramError::Proof => {
            let (state, _) = look();
            resolve::scram_failed(&state, &opening.user).into()
        }
    })
}

async fn password(leg: &mut Leg, opening: &Opening, look: Look<'_>) -> Result<Identity, Broken> {
    if !leg.stream.is_tls() {
        return Err(Broken::Refused(Refusal::Protocol { message: "this listener takes passwords over TLS only".into() }));
    }
    ask(leg, Authentication::CleartextPassword)?;
    let answer = leg.answer().await?;
    let secret = Secret::new(frontend::password(answer.body())?.to_vec());
    let (state, now) = look();
    let identity = resolve::password(&state, now, &opening.user, &secret);
    identity.map_err(|rejection| Broken::Refused(rejection.into()))
}

fn ask(leg: &mut Leg, what: Authentication<'_>) -> Result<(), Broken> {
    Ok(Backend::Authentication(what).write(&mut leg.out)?)
}
