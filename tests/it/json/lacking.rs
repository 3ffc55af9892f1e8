//! Services that describe themselves in part: files of reflection that name types which nobody has described.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use prost::Message as _;
use prost_types::{FileDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto};
use ringway::config;
use ringway::transcode::api::{Api, Reflected};
use ringway::transcode::openapi::{self, About};

const CONFIG: &str = "[transcoding]\nreflection = [\"echo\"]\n[[listeners]]\naddress = \"127.0.0.1:0\"\n\
    [[routes]]\ncluster = \"echo\"\n[[clusters]]\nname = \"echo\"\nendpoints = [\"127.0.0.1:1\"]\n";

/// A reflected file of this text, after `change`.
fn reflected(name: &str, text: &str, change: impl FnOnce(&mut FileDescriptorProto)) -> Vec<u8> {
    let mut file = protox::file::File::from_source(name, text).unwrap().file_descriptor_proto().clone();
    change(&mut file);
    file.encode_to_vec()
}

/// Two kinds that 10,000 drawn answers had.
#[test]
fn a_service_whose_files_lack_types_spoils_no_others() {
    let settings = config::parse(CONFIG, Path::new("r.toml")).unwrap().transcoding;
    // The values of a map are of a type that nobody has described: the map goes, and its entry.
    let text = "syntax = \"proto3\"; package t; message Gone {} message M { int32 a = 1; map<string, Gone> m = 2; }\n\
                message N { int32 b = 1; }\n\
                service S { rpc Map(M) returns (M); rpc Good(N) returns (N); }";
    let map = reflected("t.proto", text, |file| {
        file.message_type.retain(|message| message.name() != "Gone");
        file.dependency.push("gone.proto".to_owned());
        for message in &mut file.message_type {
            for nested in &mut message.nested_type {
                nested.field[1].type_name = Some(".t.Gone".to_owned());
                nested.field[1].r#type = Some(11);
            }
            message.field.iter_mut().filter(|field| field.name() == "m").for_each(|field| {
                field.type_name = Some(".t.M.MEntry".to_owned());
                field.r#type = Some(11);
            });
        }
        for method in file.service.iter_mut().flat_map(|service| &mut service.method) {
            let kind = if method.name() == "Map" { ".t.M" } else { ".t.N" };
            (method.input_type, method.output_type) = (Some(kind.to_owned()), Some(kind.to_owned()));
        }
    });
    // A file that goes by the name of a built-in one, without what other built-in ones need.
    let http = reflected(
        "google/api/http.proto",
        "syntax = \"proto3\"; package google.api; message Other {}",
        |_| {},
    );
    let good = reflected("u.proto", "syntax = \"proto3\"; package u; message U {} ", |file| {
        file.service.push(ServiceDescriptorProto {
            name: Some("S".to_owned()),
            method: vec![MethodDescriptorProto {
                name: Some("M".to_owned()),
                input_type: Some(".u.U".to_owned()),
                output_type: Some(".u.U".to_owned()),
                ..Default::default()
            }],
            options: None,
        });
    });
    // One that defines what a built-in file does, under another name.
    let text = "syntax = \"proto3\"; package google.api; message HttpRule {} message Http {}";
    let elsewhere = reflected("my/http.proto", text, |_| {});
    for (what, files, served) in [
        ("a built-in type", vec![elsewhere, good.clone()], "/u.S/M"),
        ("a map", vec![map], "/t.S/Good"),
        ("a built-in name", vec![http, good], "/u.S/M"),
    ] {
        let answers = [Reflected { origin: "cluster 0".to_owned(), files, untold: Vec::new() }];
        let api = Api::load(&settings, Path::new(""), &answers);
        let api = api.unwrap_or_else(|problems| panic!("{what}: it is fatal: {problems:#?}"));
        let print_options = settings.print_options;
        let about = About { title: "t", version: "1", print_options, wraps_stream_messages: false };
        assert!(openapi::document(&api, &about).is_object());
        let paths: Vec<&str> = api.methods().iter().map(|method| method.path.as_str()).collect();
        assert!(paths.contains(&served), "{what}: {paths:?} {:#?}", api.refused());
        assert!(!api.refused().is_empty(), "{what}");
    }
}
