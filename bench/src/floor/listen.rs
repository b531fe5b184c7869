//! Listening sockets.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::error::{Doing, Result, failed};

/// As deep as Linux's default `somaxconn`.
const BACKLOG: i32 = 4096;

/// A non-blocking listener on loopback, and its address.
pub(super) fn listen(port: u16) -> Result<(OwnedFd, SocketAddr)> {
    let doing = || format!("listening on 127.0.0.1:{port}");
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).doing(doing)?;
    rustix::net::sockopt::set_socket_reuseaddr(&fd, true).doing(doing)?;
    rustix::net::bind(&fd, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).doing(doing)?;
    rustix::net::listen(&fd, BACKLOG).doing(doing)?;
    let address = rustix::net::getsockname(&fd).doing(doing)?;
    let address = SocketAddr::try_from(address).map_err(|_| failed("a listener without an IP address"))?;
    Ok((fd, address))
}
