//! JSON into messages, beside prost-reflect: each text is read by both, and both must mean the same or refuse it.
//!
//! Names of cases are those of protobuf's conformance suite where it has the case.

mod binding;
mod cases;
mod differences;
mod errors;
mod mutations;
mod reference;
mod refused;

#[test]
fn the_tables_have_as_many_cases_as_they_should() {
    let valid = cases::SAME.len() + cases::IGNORED.len() + differences::MORE.len() + differences::BYTES.len();
    let refused = refused::REFUSED.len() + differences::STRICTER.len();
    let bound =
        binding::BOUND.len() + binding::UNBOUND.len() + binding::QUERIES.len() + binding::BAD_QUERIES.len();
    println!("{valid} valid, {refused} refused, {bound} of paths and queries");
    assert!(valid >= 150 && refused >= 130 && valid + refused >= 280, "{valid} {refused}");
    assert!(bound >= 100, "{bound}");
}
