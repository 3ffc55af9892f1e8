//! A call over TLS costs less than one allocation, on both back-ends.

use super::calls::{connect, echo, per_call};
use crate::support::gateway::GatewayBuilder;
use crate::support::pki::{Authority, Folder, names};
use crate::support::tunnel::{Tunnel, client_config};

/// Less than one for each call: most records need no memory of their own.
const RECORDS_MAX: f64 = 1.0;

#[test]
fn a_call_over_tls_allocates_for_its_records_alone() {
    let _alone = crate::alone();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime for the client and the upstream");
    let upstream = runtime.block_on(echo());
    let (folder, ca) = (Folder::new("allocations"), Authority::new("root"));
    let identity = ca.issue(&names(&["api.example.org"]));
    let tls = format!(
        "[[listeners.tls.tls_certificates]]\ncertificate_chain = \"{}\"\nprivate_key = \"{}\"\n",
        folder.write("server.crt", &identity.chain),
        folder.write("server.key", &identity.key)
    );
    for backend in ["io_uring", "epoll"] {
        let gateway = GatewayBuilder::new(&[upstream], backend).set("workers", 1).listener(&tls).start();
        let client = client_config(&ca.pem(), &["h2"], None);
        let tunnel = runtime.block_on(Tunnel::to_tls(gateway.listeners()[0], client, "api.example.org"));
        let client = runtime.block_on(connect(tunnel.address));
        let per_call = per_call(&runtime, &gateway, &client, "");
        assert!(per_call <= RECORDS_MAX, "{per_call:.3} allocations per call over TLS on {backend}");
        drop((client, gateway));
    }
}
