//! nginx with the Nchan module as a target: as many workers as cores, no access log, message buffers that hold a run.

use std::path::Path;

use super::{Server, Setup, directory, local, wait_for_http};
use crate::error::{Doing, Result};
use crate::proc::{Guarded, free_port};
use crate::publish::{Endpoint, Style};

pub(super) fn start(setup: &Setup, program: &Path) -> Result<Server> {
    let directory = directory()?;
    let address = local(free_port()?);
    let file = directory.path().join("nginx.conf");
    std::fs::write(&file, configuration(setup, &address.to_string(), directory.path()))
        .doing(|| "writing nginx's configuration".into())?;
    let args = ["-c".into(), file.display().to_string(), "-p".into(), directory.path().display().to_string()];
    let mut process = Guarded::spawn("nginx", program, &args, &directory.path().join("log"))?;
    wait_for_http(&mut process, address, "/ready")?;
    Ok(Server {
        process,
        publish: Endpoint { style: Style::Nchan, addresses: vec![address] },
        subscribe: vec![address],
        path: "/events/{topic}".into(),
        metrics: None,
        helpers: Vec::new(),
        _directory: directory,
    })
}

fn configuration(setup: &Setup, listen: &str, directory: &Path) -> String {
    let at = directory.display();
    format!(
        "daemon off;\nworker_processes auto;\nworker_rlimit_nofile 20000;\npid {at}/pid;\n\
         error_log stderr error;\nload_module /usr/lib/nginx/modules/ngx_nchan_module.so;\n\
         events {{ worker_connections 19000; multi_accept on; }}\n\
         http {{\n  access_log off;\n  tcp_nodelay on;\n  keepalive_requests 100000000;\n  keepalive_timeout 3600;\n\
         \x20 client_body_temp_path {at}/body;\n  proxy_temp_path {at}/proxy;\n  fastcgi_temp_path {at}/fastcgi;\n\
         \x20 uwsgi_temp_path {at}/uwsgi;\n  scgi_temp_path {at}/scgi;\n  client_body_buffer_size 64k;\n\
         \x20 nchan_shared_memory_size 512M;\n\
         \x20 server {{\n    listen {listen} backlog=4096 reuseport;\n\
         \x20   location = /ready {{ return 200 ok; }}\n\
         \x20   location ~ ^/pub/(.+)$ {{ nchan_publisher; nchan_channel_id $1; nchan_message_buffer_length {};\n\
         \x20     nchan_message_timeout 10m; }}\n\
         \x20   location ~ ^/events/(.+)$ {{ nchan_subscriber eventsource; nchan_channel_id $1;\n\
         \x20     nchan_subscriber_first_message newest; }}\n\
         \x20 }}\n}}\n",
        setup.queue
    )
}
