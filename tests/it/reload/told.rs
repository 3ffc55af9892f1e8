//! Keys that wait for a restart, and files that are gone: operators are told, and all else goes on.

use crate::support::gateway::{BACKENDS, GatewayBuilder};
use crate::support::interop_server::InteropServer;
use crate::support::process::Process;
use crate::support::raw::{EMPTY_CALL, RawClient};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_waits_for_a_restart_is_named_and_the_rest_is_applied() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let config = GatewayBuilder::new(&[server.address()], backend);
        let mut process = Process::start(&config.text()).await;
        let mut client = RawClient::connect(process.listener).await;
        let other = config
            .clone()
            .set("workers", 3)
            .set("cpu_policy", "physical_cores")
            .unset("io.on_unavailable")
            .set("io.entries", 512)
            .set("admin.address", "127.0.0.1:1")
            .set("routes.name", "renamed")
            .text();
        std::fs::write(process.config(), &other).expect("the test's file");
        let answer = process.posted("/config/reload").await;
        let file = process.config().display().to_string();
        let waiting = [
            ("2:11", "workers", "3", "2"),
            ("4:14", "cpu_policy", "\"physical_cores\"", "the default"),
            ("8:11", "io.entries", "512", "4096"),
            ("6:1", "io.on_unavailable", "\"fallback\"", "\"fail\""),
            ("11:11", "admin.address", "\"127.0.0.1:1\"", "\"127.0.0.1:0\""),
        ];
        for (place, key, found, in_use) in waiting {
            let line = format!("{file}:{place}: {key} = {found}: waits for a restart, {in_use} is in use");
            let in_json = line.replace('"', "\\\"");
            assert!(answer.contains(&line) || answer.contains(&in_json), "{backend}: {line}\n{answer}");
            if !process.has_said(&line) {
                process.says(&line).await;
            }
        }
        assert_eq!(process.metric("ringway_config_keys_waiting").await, waiting.len() as u64);
        assert_eq!(process.metric("ringway_config_good").await, 1);
        let page = process.page("/config/waiting").await;
        assert!(page.contains(&format!("{file}:11:11")) && page.contains("io.entries"), "{page}");

        // All else is applied, and what is shown is what is in use.
        assert!(process.page("/routes").await.contains("renamed"));
        let shown = process.page("/config").await;
        assert!(shown.contains("\nworkers = 2\n") && shown.contains("entries = 4096"), "{shown}");
        assert!(shown.contains("name = \"renamed\""), "{shown}");
        assert_eq!(client.call(EMPTY_CALL, &[], b"").await.grpc_status(), Some("0"), "{backend}");

        std::fs::write(process.config(), config.text()).expect("the test's file");
        process.posted("/config/reload").await;
        assert_eq!(process.metric("ringway_config_keys_waiting").await, 0);
        process.signal("TERM");
        assert_eq!(process.ended().await.code(), Some(0), "{backend}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_file_is_noticed_once_and_what_was_read_stays() {
    let server = InteropServer::start();
    let config = GatewayBuilder::new(&[server.address()], BACKENDS[0]);
    let mut process = Process::start(&config.text()).await;
    let mut client = RawClient::connect(process.listener).await;
    assert_eq!(process.metric("ringway_config_files_missing").await, 0);
    std::fs::remove_file(process.config()).expect("the test's file");
    let line = process.says("the file is missing").await;
    assert!(line.contains(&process.config().display().to_string()), "{line}");
    assert_eq!(process.metric("ringway_config_files_missing").await, 1);
    assert_eq!(client.call(EMPTY_CALL, &[], b"").await.grpc_status(), Some("0"));

    std::fs::write(process.config(), config.set("routes.name", "renamed").text()).expect("the test's file");
    process.says("the file is there again").await;
    process.says("new configuration").await;
    assert_eq!(process.metric("ringway_config_files_missing").await, 0);
    assert!(process.page("/routes").await.contains("renamed"));
    process.signal("TERM");
    process.says("draining").await;
    let said = process.log().await;
    let count = said.iter().filter(|line| line.contains("the file is missing")).count();
    assert_eq!(count, 1, "{said:?}");
    assert_eq!(process.ended().await.code(), Some(0));
}

#[test]
#[should_panic(expected = "the gateway has no key worker")]
fn no_test_sets_a_key_that_the_gateway_does_not_know() {
    let _ = GatewayBuilder::new(&[], BACKENDS[0]).set("worker", 1);
}
