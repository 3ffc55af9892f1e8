//! usage: peers-pingora LISTEN UPSTREAM     one thread; cleartext HTTP/2 from clients and to the upstream

use std::error::Error;

use async_trait::async_trait;
use pingora_core::apps::HttpServerOptions;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

struct ToUpstream(String);

#[async_trait]
impl ProxyHttp for ToUpstream {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> pingora_core::Result<Box<HttpPeer>> {
        let mut peer = HttpPeer::new(&self.0, false, String::new());
        peer.options.set_http_version(2, 2);
        peer.options.max_h2_streams = 512;
        Ok(Box::new(peer))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, upstream] = &arguments[..] else {
        return Err("usage: peers-pingora LISTEN UPSTREAM".into());
    };
    let configuration = ServerConf { threads: 1, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, configuration);
    server.bootstrap();
    let mut proxy = http_proxy_service(&server.configuration, ToUpstream(upstream.clone()));
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    proxy.app_logic_mut().ok_or("pingora has no proxy in its service")?.server_options = Some(options);
    proxy.add_tcp(listen);
    server.add_service(proxy);
    server.run_forever()
}
