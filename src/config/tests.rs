use std::path::Path;
#[test]
fn scratch() {
    for f in std::fs::read_dir("/tmp/t").unwrap() {
        let f = f.unwrap().path();
        let t = std::fs::read_to_string(&f).unwrap();
        println!("--- {}", f.display());
        match super::parse(&t, Path::new("r.toml")) { Ok(c) => println!("{c:#?}"), Err(e) => println!("{e}") }
    }
}
