//! `/config`, `/config/waiting`, `/config/reload` and `/log_level`.

use http::StatusCode;

use super::request::{AdminError, AdminRequest};
use super::response::AdminResponse;
use super::value::Value;
use crate::config::{Setting, Waiting};

/// The configuration with every default, as JSON or as the file that would say all of it.
pub(super) fn page(asked: &AdminRequest) -> AdminResponse {
    let view = asked.source().view();
    match asked.wants_json() {
        true => AdminResponse::json(&names(view.config.effective.settings())),
        false => AdminResponse::of("application/toml; charset=utf-8", view.config.effective.toml()),
    }
}

/// The keys whose values in the file wait for a restart.
pub(super) fn waiting(asked: &AdminRequest) -> Value {
    let view = asked.source().view();
    let text = |text: &Option<String>| Value::from(text.as_deref());
    let row = |key: &Waiting| {
        Value::Record(vec![
            ("key", key.key.into()),
            ("place", key.place.as_str().into()),
            ("found", text(&key.found)),
            ("in_use", text(&key.in_use)),
        ])
    };
    view.waiting.iter().map(row).collect()
}

fn names(settings: &[(String, Setting)]) -> Value {
    Value::Names(settings.iter().map(|(key, setting)| (key.clone(), value(setting))).collect())
}

fn value(setting: &Setting) -> Value {
    match setting {
        Setting::Text(text) => Value::Text(text.clone()),
        Setting::Plain(text) => match (text.parse(), text.parse()) {
            (Ok(count), _) => Value::Count(count),
            (_, Ok(number)) => Value::Number(number),
            _ => Value::Flag(text == "true"),
        },
        Setting::List(items) => items.iter().map(value).collect(),
        Setting::Names(entries) | Setting::Table(entries) => names(entries),
        Setting::Tables(tables) => tables.iter().map(|table| names(table)).collect(),
    }
}

/// Applies the configuration as it is now in its file.
pub(super) fn reload(asked: &AdminRequest) -> Result<AdminResponse, AdminError> {
    let Some(reload) = &asked.source().hooks().reload else {
        return Err(AdminError(StatusCode::NOT_FOUND, "nobody reloads here".to_owned()));
    };
    match reload() {
        Ok(changed) => {
            Ok(asked.page(Value::Record(vec![("reloaded", true.into()), ("changed", Value::Text(changed))])))
        }
        Err(why) => Err(AdminError(StatusCode::CONFLICT, why)),
    }
}

/// Shows how much is logged, or changes it.
pub(super) fn log_level(asked: &AdminRequest) -> Result<AdminResponse, AdminError> {
    let Some(level) = &asked.source().hooks().log_level else {
        return Err(AdminError(StatusCode::NOT_FOUND, "the logs are somebody else's".to_owned()));
    };
    if asked.is_post() {
        let Some(wanted) = asked.query().get("level") else {
            return Err(AdminError(StatusCode::BAD_REQUEST, "write ?level=info".to_owned()));
        };
        (level.set)(wanted).map_err(|why| AdminError(StatusCode::BAD_REQUEST, why))?;
    }
    Ok(asked.page(Value::Record(vec![("level", Value::Text((level.get)()))])))
}
