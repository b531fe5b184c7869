//! Pushpin as a target, with an origin inside the benchmark that holds every request open on its topic.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use super::{START_LIMIT, Server, Setup, directory, local};
use crate::error::{Doing, Result};
use crate::httpd::Httpd;
use crate::proc::{Guarded, free_port};
use crate::publish::{Endpoint, Style};

pub(super) fn start(setup: &Setup, program: &Path) -> Result<Server> {
    let directory = directory()?;
    let origin = Httpd::start(hold)?;
    let ports = [free_port()?, free_port()?, free_port()?, free_port()?, free_port()?];
    let at = directory.path();
    let file = at.join("pushpin.conf");
    std::fs::write(&file, configuration(setup, at, ports))
        .doing(|| "writing Pushpin's configuration".into())?;
    std::fs::write(at.join("routes"), format!("* {}\n", origin.address))
        .doing(|| "writing Pushpin's routes".into())?;
    let args = [format!("--config={}", file.display()), "--merge-output".into()];
    let mut process = Guarded::spawn("pushpin", program, &args, &at.join("log"))?;
    let (address, control) = (local(ports[0]), local(ports[1]));
    process.wait_until(START_LIMIT, || holds(address))?;
    Ok(Server {
        process,
        publish: Endpoint { style: Style::Pushpin, addresses: vec![control] },
        subscribe: vec![address],
        path: "/events/{topic}".into(),
        metrics: None,
        helpers: vec![origin],
        _directory: directory,
    })
}

/// Whether a subscribe is held open, for which all of Pushpin's processes must have found each other.
fn holds(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /events/probe HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut start = [0; 12];
        stream.read_exact(&mut start)?;
        Ok(start == *b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}

/// Holds `/events/{topic}` open, answers anything else.
fn hold(path: &str) -> (String, String) {
    match path.strip_prefix("/events/") {
        Some(topic) => (
            format!("Content-Type: text/event-stream\r\nGrip-Hold: stream\r\nGrip-Channel: {topic}\r\n"),
            String::new(),
        ),
        None => ("Content-Type: text/plain\r\n".into(), "ready\n".into()),
    }
}

fn configuration(setup: &Setup, directory: &Path, ports: [u16; 5]) -> String {
    let at = directory.display();
    let [http, control, push, subscribe, command] = ports;
    format!(
        "[global]\ninclude=/usr/lib/pushpin/internal.conf\nrundir={at}\nipc_prefix=bench-\n\
         [runner]\nservices=condure,zurl,pushpin-proxy,pushpin-handler\nhttp_port=127.0.0.1:{http}\nlogdir={at}\n\
         log_level=0\nclient_buffer_size=8192\nclient_maxconn={}\n\
         condure_bin=condure\nzurl_bin=zurl\n\
         [proxy]\nzurl_out_specs=ipc://{{rundir}}/{{ipc_prefix}}zurl-in\n\
         zurl_out_stream_specs=ipc://{{rundir}}/{{ipc_prefix}}zurl-in-stream\n\
         zurl_in_specs=ipc://{{rundir}}/{{ipc_prefix}}zurl-out\nroutesfile=routes\nauto_cross_origin=false\nupdates_check=off\n\
         [handler]\npush_in_spec=tcp://127.0.0.1:{push}\npush_in_sub_specs=tcp://127.0.0.1:{subscribe}\n\
         push_in_http_addr=127.0.0.1\npush_in_http_port={control}\npush_in_http_max_headers_size=10000\n\
         push_in_http_max_body_size=10000000\nstats_spec=ipc://{{rundir}}/{{ipc_prefix}}stats\n\
         command_spec=tcp://127.0.0.1:{command}\nmessage_rate=30000\nmessage_hwm=10000000\nmessage_wait=5000\n\
         id_cache_ttl=60\nconnection_subscription_max=20\nsubscription_linger=60\nstats_connection_ttl=120\n\
         stats_subscription_ttl=60\nstats_report_interval=10\nstats_format=tnetstring\n",
        (setup.subscribers * 5).max(50_000)
    )
}
