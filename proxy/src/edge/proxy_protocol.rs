//! The PROXY protocol, versions 1 and 2, by which a load balancer names the client.

use std::{
    io::{self, ErrorKind},
    net::IpAddr,
    time::Duration,
};

use proxy_header::{Error, ParseConfig, ProxyHeader};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::sleep};

/// The longest header that is read: a version 2 header with the usual extensions.
const HEADER_BYTES_MAX: usize = 1024;

/// How long to wait for the rest of a header of which a part is there.
const REST_PAUSE: Duration = Duration::from_millis(5);

/// Reads the header, and nothing behind it. `None` if the balancer speaks for itself (a health check).
pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Option<IpAddr>> {
    let mut buffer = [0; HEADER_BYTES_MAX];
    let config = ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: true };
    loop {
        let peeked = stream.peek(&mut buffer).await?;
        if peeked == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        match ProxyHeader::parse(&buffer[..peeked], config) {
            Ok((header, length)) => {
                let address = header.proxied_address().map(|address| address.source.ip());
                let mut read = [0; HEADER_BYTES_MAX];
                stream.read_exact(&mut read[..length]).await?;
                return Ok(address);
            }
            // Peeking returns at once as long as anything is there.
            Err(Error::BufferTooShort) if peeked < buffer.len() => sleep(REST_PAUSE).await,
            Err(error) => return Err(io::Error::new(ErrorKind::InvalidData, error.to_string())),
        }
    }
}
