//! `/openapi.json` on the admin address of a gateway: what it serves, as it serves it.

use crate::support::gateway;
use crate::support::http1::Http1;
use crate::support::library::{Library, Source, front};

#[tokio::test]
async fn the_admin_address_describes_what_is_served() {
    let library = Library::start();
    for source in [Source::DescriptorSet, Source::Protos, Source::Reflection] {
        let front = front(&library, "epoll", source, "");
        let mut operator = Http1::connect(front.gateway.admin()).await;
        operator.say("GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        let answer = operator.answer().await;
        assert_eq!(
            (answer.status, answer.field("content-type")),
            (200, Some("application/json")),
            "{source:?}"
        );
        let document = answer.json();
        assert_eq!(document["openapi"], "3.1.0");
        // Every method that it names is served.
        let mut client = Http1::connect(front.address).await;
        let mut count = 0;
        for (template, item) in document["paths"].as_object().expect("an object") {
            let path = template.replace(['{', '}'], "");
            for name in item.as_object().expect("an object").keys() {
                let method = name.trim_start_matches("x-").to_uppercase();
                let answer = client.ask(&format!("{method} {path}"), &[], b"").await;
                assert!(!matches!(answer.status, 404 | 405), "{source:?} {method} {template}: {answer:?}");
                count += 1;
            }
        }
        assert!(count >= 18, "{source:?}: {count}");
        assert_eq!(client.ask("GET /openapi.json", &[], b"").await.status, 404, "not where callers are");
    }
    // Without descriptors there is nothing to describe.
    let (gateway, _) = gateway::before(&[library.address()], "epoll", "");
    assert_eq!(gateway::asked(gateway.admin(), "/openapi.json").await, "HTTP/1.1 404 Not Found");
}
