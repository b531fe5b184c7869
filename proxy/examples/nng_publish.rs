//! Publishes events over NNG: `nng_publish ADDRESS TOPIC DATA...`
//!
//! The token, if one is needed, is taken from the environment variable `TOKEN`.
#![allow(clippy::print_stdout, reason = "it prints the results")]

use std::{env, error::Error, time::Duration};

use nng::{
    Message, Protocol, Socket,
    options::{Options as _, RecvTimeout, SendTimeout},
};
use serde_json::json;

const PATIENCE: Option<Duration> = Some(Duration::from_secs(5));

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let usage = "usage: nng_publish ADDRESS TOPIC DATA...";
    let (address, topic) = (args.next().ok_or(usage)?, args.next().ok_or(usage)?);
    let mut question = env::var("TOKEN").unwrap_or_default();
    for data in args {
        question.push('\n');
        question.push_str(&json!({ "topic": topic, "data": data }).to_string());
    }
    let socket = Socket::new(Protocol::Req0)?;
    socket.set_opt::<SendTimeout>(PATIENCE)?;
    socket.set_opt::<RecvTimeout>(PATIENCE)?;
    socket.dial(&address)?;
    socket.send(Message::from(question.as_bytes())).map_err(|(_, error)| error)?;
    let answer = socket.recv()?;
    let answer = std::str::from_utf8(answer.as_slice())?;
    let (status, results) = answer.split_once('\n').ok_or("the answer has no status")?;
    println!("{results}");
    if status == "202" { Ok(()) } else { Err(format!("some events were refused: {status}").into()) }
}
