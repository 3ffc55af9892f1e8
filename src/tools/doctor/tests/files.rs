//! The files in `tuning/` that are written from the table.

use super::*;

/// Where the settings begin and end in the guide.
const BEGIN: &str = "<!-- settings: written by UPDATE=1 cargo test --lib doctor -->\n";
const END: &str = "<!-- end of settings -->\n";

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn is_update() -> bool {
    std::env::var_os("UPDATE").is_some()
}

#[test]
fn the_sysctl_file_is_the_table() {
    let path = in_repository("tuning/99-ringway.conf");
    if is_update() {
        fs::write(&path, conf()).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap_or_default();
    assert!(text == conf(), "tuning/99-ringway.conf is out of date: run UPDATE=1 cargo test --lib doctor");
}

#[test]
fn the_guide_has_the_settings_of_the_table() {
    let path = in_repository("tuning/README.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the guide marks where settings begin");
    let (present, after) = rest.split_once(END).expect("the guide marks where settings end");
    let wanted = settings();
    if is_update() {
        fs::write(&path, format!("{before}{}{wanted}{}{after}", BEGIN, END)).unwrap();
    } else {
        assert!(present == wanted, "tuning/README.md is out of date: run UPDATE=1 cargo test --lib doctor");
    }
}

/// The file, taken as it is with its optional lines, satisfies the doctor: they cannot want different things.
#[test]
fn a_host_with_the_sysctl_file_satisfies_the_doctor() {
    let text = fs::read_to_string(in_repository("tuning/99-ringway.conf")).unwrap();
    let fake = Fake::good("conf");
    let mut lines = 0;
    for line in text.lines() {
        let Some((key, value)) = line.trim_start_matches("# ").split_once(" = ") else { continue };
        fake.put(&format!("proc/sys/{}", key.replace('.', "/")), value);
        lines += 1;
    }
    let rows = table::checks().filter(|check| matches!(check.test, Test::Sysctl { .. })).count();
    assert_eq!(lines, rows, "one line for each sysctl that is judged");
    assert_eq!(findings(&fake.look()), [""; 0]);
}
