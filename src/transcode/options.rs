//! How JSON is printed.

/// What Envoy calls `print_options`, by its names; all off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent switches, named by Envoy")]
pub struct PrintOptions {
    /// Lines and indentation.
    pub add_whitespace: bool,
    /// Fields without presence are there with their default: numbers, strings, enums, also empty lists and maps.
    pub always_print_primitive_fields: bool,
    /// Enums as numbers.
    pub always_print_enums_as_ints: bool,
    /// `foo_bar` as in the .proto file, in place of `fooBar`.
    pub preserve_proto_field_names: bool,
}
