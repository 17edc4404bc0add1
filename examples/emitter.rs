//! Sends to the clients of a cluster from the command line, and serves none:
//!
//! ```sh
//! cargo run --example emitter --features redis -- --of /chat --to general emit message '{"text":"it rains"}'
//! cargo run --example emitter --features redis -- --of /chat --to general --except muted join archive other
//! cargo run --example emitter --features redis -- --of /chat --to general leave archive
//! cargo run --example emitter --features redis -- --of /chat --to <id of a socket> disconnect --close
//! cargo run --example emitter --features redis -- tell reload '"settings"'      # to the servers
//! ```
//!
//! Arguments of events are JSON, or `@` and the name of a file, whose bytes are sent. `--url` names the
//! Redis (`redis://127.0.0.1:6379`), `--kind` what the servers have (`classic`, `sharded`, `streams`),
//! `--key` what their channels begin with (`socket.io`); `--volatile`, `--no-compress`.
use std::{env, error::Error, fs, process::ExitCode};

use bytes::Bytes;
use greenroom::{Args, RedisEmitter};
use serde_json::Value;

#[derive(Default)]
struct Options {
    url: Option<String>,
    kind: Option<String>,
    key: Option<String>,
    of: Option<String>,
    to: Vec<String>,
    except: Vec<String>,
    volatile: bool,
    uncompressed: bool,
    close: bool,
    /// What to do, and with what.
    words: Vec<String>,
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match &*argument {
            "--url" => options.url = Some(value()?),
            "--kind" => options.kind = Some(value()?),
            "--key" => options.key = Some(value()?),
            "--of" => options.of = Some(value()?),
            "--to" => options.to.push(value()?),
            "--except" => options.except.push(value()?),
            "--volatile" => options.volatile = true,
            "--no-compress" => options.uncompressed = true,
            "--close" => options.close = true,
            unknown if unknown.starts_with("--") => return Err(format!("{unknown} is unknown")),
            _ => options.words.push(argument),
        }
    }
    Ok(options)
}

fn emitter(options: &Options) -> Result<RedisEmitter, Box<dyn Error>> {
    let url = options.url.as_deref().unwrap_or("redis://127.0.0.1:6379");
    let mut emitter = match options.kind.as_deref() {
        None | Some("classic") => RedisEmitter::new(url)?,
        Some("sharded") => RedisEmitter::sharded(url)?,
        Some("streams") => RedisEmitter::streams(url)?,
        Some(other) => return Err(format!("--kind {other}: classic, sharded or streams").into()),
    };
    if let Some(key) = &options.key {
        emitter = emitter.key(key);
    }
    emitter = emitter
        .of(options.of.as_deref().unwrap_or("/"))
        .to(options.to.clone())
        .except(options.except.clone())
        .compress(!options.uncompressed);
    Ok(if options.volatile { emitter.volatile() } else { emitter })
}

fn args(words: &[String]) -> Result<Args, Box<dyn Error>> {
    let mut args = Args::new();
    for word in words {
        match word.strip_prefix('@') {
            Some(file) => args.push(&Bytes::from(fs::read(file)?))?,
            None => args.push(&serde_json::from_str::<Value>(word)?)?,
        };
    }
    Ok(args)
}

async fn run() -> Result<(), Box<dyn Error>> {
    let options = options(env::args().skip(1))?;
    let emitter = emitter(&options)?;
    let (verb, words) =
        options.words.split_first().ok_or("emit, join, leave, disconnect or tell?")?;
    let event = || words.split_first().ok_or("which event?");
    match &**verb {
        "emit" => {
            let (event, words) = event()?;
            emitter.emit(event, &args(words)?).await?;
        }
        "tell" => {
            let (event, words) = event()?;
            emitter.server_side_emit(event, &args(words)?).await?;
        }
        "join" => emitter.join(words).await?,
        "leave" => emitter.leave(words).await?,
        "disconnect" => emitter.disconnect(options.close).await?,
        other => return Err(format!("{other}: emit, join, leave, disconnect or tell").into()),
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("{error}");
    ExitCode::FAILURE
}
