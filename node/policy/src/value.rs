//! Making Rego values from ours.

use std::collections::BTreeMap;

use regorus::Value;

pub(crate) fn text(text: impl AsRef<str>) -> Value {
    Value::String(text.as_ref().into())
}

pub(crate) fn shown(value: impl ToString) -> Value {
    Value::String(value.to_string().into())
}

pub(crate) fn optional(value: Option<Value>) -> Value {
    value.unwrap_or(Value::Null)
}

pub(crate) fn list(items: impl IntoIterator<Item = Value>) -> Value {
    Value::from(items.into_iter().collect::<Vec<_>>())
}

pub(crate) fn object<'a>(fields: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    Value::from(fields.into_iter().map(|(key, value)| (text(key), value)).collect::<BTreeMap<_, _>>())
}

pub(crate) fn texts(items: &BTreeMap<String, String>) -> Value {
    object(items.iter().map(|(key, value)| (key.as_str(), text(value))))
}
