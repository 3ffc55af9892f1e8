//! Mistakes that people make in a configuration: each is answered with its place, its cause and a hint that leads to the
//! mend.

use crate::support::library::Scratch;
use std::fs;
use std::path::Path;
use std::process::Command;

const LISTENER: &str = "[[listeners]]\naddress = \"127.0.0.1:8080\"\n";
const ROUTE: &str = "[[routes]]\ncluster = \"echo\"\n";
const CLUSTER: &str = "[[clusters]]\nname = \"echo\"\nendpoints = [\"127.0.0.1:1\"]\n";

/// A mistake, where it is (line and column; empty where a line means nothing), its cause, and the way out.
struct Mistake {
    text: String,
    place: &'static str,
    cause: &'static str,
    hint: &'static str,
}

fn mistake(text: impl Into<String>, place: &'static str, cause: &'static str, hint: &'static str) -> Mistake {
    Mistake { text: text.into(), place, cause, hint }
}

/// The file as a whole, or a value of it, is not TOML.
fn of_the_format() -> Vec<Mistake> {
    let rest = format!("{ROUTE}{CLUSTER}");
    vec![
        mistake("listeners:\n  - address: 127.0.0.1:8080\n", "1:1", "looks like YAML", "ringway init"),
        mistake("{ \"listeners\": [] }\n", "1:1", "looks like JSON", "ringway init"),
        mistake(
            format!("[[listeners]]\naddress = 127.0.0.1:8080\n{rest}"),
            "2:16",
            "not valid TOML",
            "put the value in quotes: address = \"127.0.0.1:8080\"",
        ),
        mistake(
            format!("[[listeners]]\naddress = \"127.0.0.1:8080\n{rest}"),
            "2:26",
            "not valid TOML",
            "close the quote",
        ),
        mistake(
            format!("[[listeners]]\naddress = \u{201c}127.0.0.1:8080\u{201d}\n{rest}"),
            "2:11",
            "not valid TOML",
            "straight quotes",
        ),
        mistake(
            format!("[listeners]\naddress = \"127.0.0.1:8080\"\n{rest}"),
            "1:1",
            "must be 1 to 64 tables",
            "with two brackets: [[listeners]]",
        ),
        mistake(format!("workers = 1\nworkers = 2\n{LISTENER}{rest}"), "2:1", "duplicate key", "stands once"),
        mistake(
            format!("{LISTENER}[routes]\ncluster = \"echo\"\n{CLUSTER}"),
            "3:1",
            "must be 1 to 4096 tables",
            "with two brackets: [[routes]]",
        ),
        mistake(
            format!("{LISTENER}{ROUTE}timeout: \"5s\"\n{CLUSTER}"),
            "5:8",
            "not valid TOML",
            "write an equals sign: timeout = \"5s\"",
        ),
        mistake(
            format!("{LISTENER}{ROUTE}{}", CLUSTER.replace("1\"]", "1\"")),
            "7:27",
            "not valid TOML",
            "a bracket: ]",
        ),
    ]
}

/// An address is not one.
fn of_addresses() -> Vec<Mistake> {
    let at = |address: &str| format!("[[listeners]]\naddress = \"{address}\"\n{ROUTE}{CLUSTER}");
    let to = |endpoints: &str| {
        format!("{LISTENER}{ROUTE}[[clusters]]\nname = \"echo\"\nendpoints = {endpoints}\n")
    };
    vec![
        mistake(at("127.0.0.1"), "2:11", "an IP address and a port", "add the port"),
        mistake(at(":8080"), "2:11", "an IP address and a port", "write \"0.0.0.0:8080\""),
        mistake(at("127.0.0.1:80800"), "2:11", "an IP address and a port", "at most 65535"),
        mistake(to("[\"127.0.0.1:80800\"]"), "7:14", "and a port", "the port is 1 to 65535"),
        mistake(to("[\":50051\"]"), "7:14", "and a port", "write 127.0.0.1 before the colon"),
        mistake(to("[\"50051\"]"), "7:14", "and a port", "add the host: 127.0.0.1"),
        mistake(
            format!("{LISTENER}deny_cidrs = [\"10.0.0.0/33\"]\n{ROUTE}{CLUSTER}"),
            "3:15",
            "a block of addresses",
            "the prefix is 0 to 32",
        ),
        mistake(at("localhost:8080"), "2:11", "an IP address and a port", "write \"127.0.0.1:8080\""),
        mistake(
            format!("{LISTENER}{LISTENER}{ROUTE}{CLUSTER}"),
            "4:11",
            "already taken by listeners.address on line 2",
            "an address of its own",
        ),
        mistake(to("[\"http://127.0.0.1:1\"]"), "7:14", "and a port", "leave out the scheme"),
        mistake(to("[\"unix:run/echo.sock\"]"), "7:14", "a Unix socket", "behind three slashes"),
        mistake(
            to(&format!("[\"unix:///{}\"]", "a".repeat(107))),
            "7:14",
            "a Unix socket",
            "the kernel takes paths of up to 107 bytes",
        ),
        mistake(to("[\"echo.internal\"]"), "7:14", "and a port", "add the port"),
        mistake(to("\"127.0.0.1:1\""), "7:13", "must be a list", "put it in brackets"),
        mistake(to("[\"${NO_SUCH_HOST}:1\"]"), "7:14", "NO_SUCH_HOST is not set", "${NO_SUCH_HOST:-default}"),
    ]
}

/// A key or a value is none that is known there.
fn of_keys() -> Vec<Mistake> {
    let top = |text: &str| format!("{text}\n{LISTENER}{ROUTE}{CLUSTER}");
    let end = |text: &str| format!("{LISTENER}{ROUTE}{CLUSTER}{text}\n");
    vec![
        mistake(end("timeut = \"5s\""), "8:1", "unknown key", "did you mean `timeout`?"),
        mistake(end("max_request_body_size = \"1MiB\""), "8:1", "unknown key", "belongs in transcoding"),
        mistake(
            end("[clusters.tls]\nca = \"ca.pem\""),
            "9:1",
            "unknown key",
            "`validation_context.trusted_ca`",
        ),
        mistake(end("timeout = \"5\""), "8:11", "between 1ms and 24h", "\"5s\" for seconds"),
        mistake(end("lb_policy = \"random\""), "8:13", "must be", "\"least_request\" or \"round_robin\""),
        mistake(
            end("retry.retryable_status_codes = [\"unavail\"]"),
            "8:32",
            "a list of gRPC codes",
            "did you mean \"UNAVAILABLE\"?",
        ),
        mistake(end("[admin]\ntap = \"true\""), "9:7", "must be true or false", "leave out the quotes"),
        mistake(
            format!("{LISTENER}[[routes]]\nmatch.regex = \"/a\"\ncluster = \"echo\"\n{CLUSTER}"),
            "4:7",
            "unknown key",
            "did you mean `safe_regex`?",
        ),
        mistake(
            format!("{LISTENER}[[routes]]\ncluster = [\"echo\"]\n{CLUSTER}"),
            "4:11",
            "the name of a cluster",
            "weighted_clusters",
        ),
        mistake(end("workers = 2"), "8:1", "unknown key", "at the top of the file"),
        mistake(top("drain_timeout = 30"), "1:17", "between 0s and 1h", "\"30s\" for seconds"),
        mistake(top("workers = \"4\""), "1:11", "or between 1 and 1024", "leave out the quotes"),
        mistake(
            format!("{LISTENER}[[routes]]\ncluster = \"ecko\"\n{CLUSTER}"),
            "4:11",
            "no such cluster",
            "did you mean \"echo\"?",
        ),
        mistake(
            format!("{LISTENER}{ROUTE}match.path = \"p.Echo/Say\"\n{CLUSTER}"),
            "5:14",
            "a service and a method",
            "begins with a slash",
        ),
        mistake(end(CLUSTER.trim_end()), "9:8", "must be unique", "line 6"),
        mistake(format!("{ROUTE}{CLUSTER}"), "1:1", "at least one is needed", "begin with [[listeners]]"),
        mistake(
            end("[transcoding]\nreflection = [\"ecko\"]"),
            "9:15",
            "no such cluster",
            "did you mean \"echo\"?",
        ),
    ]
}

/// A key stands in another place than here, or has the value that another program wants.
fn of_other_programs() -> Vec<Mistake> {
    let end = |text: &str| format!("{LISTENER}{ROUTE}{CLUSTER}{text}\n");
    vec![
        mistake(
            format!("{LISTENER}certificate = \"a.pem\"\n{ROUTE}{CLUSTER}"),
            "3:1",
            "unknown key",
            "did you mean `certificate_chain` of listeners.tls.tls_certificates?",
        ),
        mistake(
            format!("{LISTENER}private_key = \"a.key\"\n{ROUTE}{CLUSTER}"),
            "3:1",
            "unknown key",
            "it belongs in listeners.tls.tls_certificates",
        ),
        mistake(
            format!("{LISTENER}{ROUTE}match = \"/x/\"\n{CLUSTER}"),
            "5:9",
            "must be a table",
            "write match = { prefix = \"/x/\" }",
        ),
        mistake(
            format!("{LISTENER}{ROUTE}match.service = \"/x/\"\n{CLUSTER}"),
            "5:17",
            "a service's full name",
            "leave out the slash",
        ),
        mistake(
            format!("cpu_policy = \"fast\"\n{LISTENER}{ROUTE}{CLUSTER}"),
            "1:14",
            "\"physical_cores\"",
            "leave the key out for all CPUs",
        ),
        mistake(end("lb_policy = \"round_robbin\""), "8:13", "must be", "did you mean \"round_robin\"?"),
    ]
}

/// A file that the configuration names is not there, or not of its kind.
fn of_files() -> Vec<Mistake> {
    let end = |text: &str| format!("{LISTENER}{ROUTE}{CLUSTER}[transcoding]\n{text}\n");
    let certificate = |chain: &str, key: &str| {
        format!(
            "{LISTENER}[[listeners.tls.tls_certificates]]\ncertificate_chain = {chain:?}\nprivate_key = {key:?}\n\
             {ROUTE}{CLUSTER}"
        )
    };
    vec![
        mistake(
            end("protos = [\"ecko.proto\"]"),
            "9:11",
            "transcoding.protos: ecko.proto: no such file",
            "begins at the configuration's folder",
        ),
        mistake(
            end("protos = [\"protos\"]"),
            "9:11",
            "transcoding.protos: protos: a folder",
            "each by itself",
        ),
        mistake(end("descriptor_sets = [\"protos\"]"), "9:20", "it is a folder", "each by itself"),
        mistake(
            end("descriptor_sets = [\"echo.proto\"]"),
            "9:20",
            "transcoding.descriptor_sets: echo.proto: not a FileDescriptorSet",
            "--descriptor_set_out",
        ),
        mistake(
            end("protos = [\"echo.proto\"]"),
            "9:11",
            "transcoding.protos: echo.proto:1:20: import 'common.proto' not found",
            "looked for in ",
        ),
        mistake(
            end("protos = [\"protos/broken.proto\"]\nproto_paths = [\"protos\"]"),
            "9:11",
            "transcoding.protos: protos/broken.proto:1:19: ",
            "expected ';'",
        ),
        mistake(
            certificate("tls.crt", "no.key"),
            "5:15",
            "listeners.tls.tls_certificates.private_key: TLS: ",
            "no.key: cannot be read",
        ),
        mistake(
            certificate("tls.key", "tls.crt"),
            "4:21",
            "listeners.tls.tls_certificates.certificate_chain: TLS: ",
            "are certificate_chain and private_key swapped?",
        ),
        mistake(
            certificate("tls.crt", "tls.crt"),
            "4:21",
            "tls.crt: has no private key in PEM",
            "private_key names the file of its key",
        ),
    ]
}

fn check(folder: &Path, text: &str) -> (Option<i32>, String) {
    let path = folder.join("r.toml");
    fs::write(&path, text).expect("the test's folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    let output = command.arg("check").arg(&path).env_remove("NO_SUCH_HOST").output().expect("it was built");
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

#[test]
fn each_mistake_has_a_place_a_cause_and_a_hint() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.0.join("protos")).expect("the test's folder");
    fs::write(scratch.0.join("echo.proto"), "syntax = \"proto3\"; import \"common.proto\";")
        .expect("the test's folder");
    fs::write(scratch.0.join("protos/broken.proto"), "syntax = \"proto3\" message {")
        .expect("the test's folder");
    let identity =
        rcgen::generate_simple_self_signed(vec!["echo.example".to_owned()]).expect("a certificate");
    fs::write(scratch.0.join("tls.crt"), identity.cert.pem()).expect("the test's folder");
    fs::write(scratch.0.join("tls.key"), identity.signing_key.serialize_pem()).expect("the test's folder");
    let name = scratch.0.join("r.toml");
    let (mut tried, mut wrong) = (0, Vec::new());
    for Mistake { text, place, cause, hint } in
        [of_the_format(), of_addresses(), of_keys(), of_other_programs(), of_files()].into_iter().flatten()
    {
        let (code, said) = check(&scratch.0, &text);
        let begins = match place {
            "" => format!("{}: ", name.display()),
            place => format!("{}:{place}: ", name.display()),
        };
        let is_one_line = said.trim_end().lines().count() == 1;
        let has_all = said.starts_with(&begins) && said.contains(cause) && said.contains(hint);
        if code != Some(1) || !is_one_line || !has_all {
            wrong.push(format!("{text}\n  wanted {place} {cause} ({hint})\n  got    {code:?} {said}"));
        }
        tried += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried >= 20, "{tried}");
}

#[test]
fn a_file_that_is_not_there_is_named_with_the_way_to_one() {
    let output = Command::new(env!("CARGO_BIN_EXE_ringway")).args(["check", "/no/such/r.toml"]).output();
    let output = output.expect("it was built");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains("cannot be read") && said.contains("`ringway init /no/such/r.toml` writes one"),
        "{said}"
    );
}
