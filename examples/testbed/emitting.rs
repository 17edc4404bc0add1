//! The operations that send: to whom a selection means, with and without answers.

use greenroom::{BroadcastAcks, Emitter, NoAnswer, prelude::*};
use serde::{Deserialize, Serialize};

use super::{
    control::first,
    operations::{Call, Failure},
    selection::{Selected, Selection},
};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Emit {
    event: String,
    args: Args,
    ack: bool,
}

/// What became of it. Answers may be binary, so they stay [`Args`].
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Emitted {
    Sent(bool),
    One { err: Option<String>, response: Args },
    Many { err: Option<String>, responses: Args },
}

pub(crate) async fn emit(call: Call) -> Result<Emitted, Failure> {
    let Emit { event, args, ack } = call.params()?;
    match call.params::<Selection>()?.of(&call)? {
        Selected::Own(own) if ack => answer_of(&own, &event, &args).await,
        Selected::Own(own) => {
            own.emit(&event, &args)?;
            Ok(Emitted::Sent(true))
        }
        Selected::Many(many) if ack => all_answers(many.emit_with_ack(&event, &args)?).await,
        Selected::Many(many) => {
            many.emit(&event, &args)?;
            Ok(Emitted::Sent(true))
        }
    }
}

/// The same through the API of futures, which is the only one here. Of a single socket's answer
/// the first argument counts.
pub(crate) async fn emit_with_ack(call: Call) -> Result<Emitted, Failure> {
    let Emit { event, args, .. } = call.params()?;
    match call.params::<Selection>()?.of(&call)? {
        Selected::Own(own) => match answer_of(&own, &event, &args).await? {
            Emitted::One { err: None, response } => {
                Ok(Emitted::One { err: None, response: first(&response)? })
            }
            other => Ok(other),
        },
        Selected::Many(many) => all_answers(many.emit_with_ack(&event, &args)?).await,
    }
}

async fn answer_of(own: &Emitter, event: &str, args: &Args) -> Result<Emitted, Failure> {
    match own.emit_with_ack(event, args).await {
        Ok(response) => Ok(Emitted::One { err: None, response }),
        Err(error @ AckError::Timeout) => {
            Ok(Emitted::One { err: Some(error.to_string()), response: Args::new() })
        }
        Err(error) => Err(error.into()),
    }
}

async fn all_answers(asked: BroadcastAcks) -> Result<Emitted, Failure> {
    let (err, answers) = match asked.all().await {
        Ok(answers) => (None, answers),
        Err(error) => {
            let message = error.to_string();
            let NoAnswer { answers, .. } = error;
            (Some(message), answers)
        }
    };
    let mut responses = Args::new();
    for answered in answers {
        responses.append(&first(&answered.answer)?);
    }
    Ok(Emitted::Many { err, responses })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Burst {
    count: u32,
}

pub(crate) async fn volatile_burst(call: Call) -> Result<bool, Failure> {
    let Burst { count } = call.params()?;
    let volatile = call.socket.volatile();
    for i in 0..count {
        volatile.emit("v", &i)?;
    }
    call.socket.emit("v-end", &count)?;
    Ok(true)
}

pub(crate) async fn burst(call: Call) -> Result<bool, Failure> {
    let Burst { count } = call.params()?;
    for i in 0..count {
        call.socket.emit("b", &i)?;
    }
    Ok(true)
}
