//! A supervisor's socket: the protocol of systemd's `sd_notify(3)`, as far as it is needed.

use std::{
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    path::Path,
};

use crate::environment;

/// The supervisor, if there is one.
#[derive(Debug)]
pub(crate) struct Supervisor(Option<(UnixDatagram, SocketAddr)>);

impl Supervisor {
    /// The one that `NOTIFY_SOCKET` names.
    pub(crate) fn find() -> Self {
        Self(environment::variable("NOTIFY_SOCKET").and_then(|name| connect(&name)))
    }

    /// Whether there is one.
    pub(crate) fn is_present(&self) -> bool {
        self.0.is_some()
    }

    /// It serves.
    pub(crate) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", status.replace('\n', " ")));
    }

    /// It takes over another configuration; [`Supervisor::ready`] follows.
    pub(crate) fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// It finishes what it began.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, message: &str) {
        if let Some((socket, address)) = &self.0 {
            // A supervisor that does not listen is not our concern.
            drop(socket.send_to_addr(message.as_bytes(), address));
        }
    }
}

/// `/path`, or `@name` in the abstract namespace.
fn connect(name: &str) -> Option<(UnixDatagram, SocketAddr)> {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name).ok()?,
        None if Path::new(name).is_absolute() => SocketAddr::from_pathname(name).ok()?,
        None => return None,
    };
    Some((UnixDatagram::unbound().ok()?, address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::Directory;

    #[test]
    fn the_supervisor_is_told() {
        let directory = Directory::new("test").unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let supervisor = Supervisor(connect(path.to_str().unwrap()));
        supervisor.ready("up\nand running");
        supervisor.reloading();
        supervisor.stopping();
        let receive = || {
            let mut buffer = [0; 256];
            let length = socket.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        assert_eq!(receive(), "READY=1\nSTATUS=up and running");
        assert!(receive().starts_with("RELOADING=1\nMONOTONIC_USEC="));
        assert_eq!(receive(), "STOPPING=1");
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        assert!(connect("relative").is_none());
        assert!(connect("").is_none());
        assert!(!Supervisor(None).is_present());
    }
}
