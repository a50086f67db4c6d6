//! Takes calls of tools from a text exactly as PicoClaw's provider for subprocesses does.

use std::format;
use std::string::String;
use std::vec::Vec;

use serde_json::Value;

/// A call: its name, and its arguments.
pub(crate) type Call = (String, Value);

/// The calls in a text: from the literal opening to the brace that closes it, where braces in strings count like others; a
/// strict parser; `id`, `type`, `name` and `arguments` are strings, and the arguments hold an object. `None` if the text has no
/// opening; an error where the caller would drop what was said.
pub(crate) fn calls(text: &str) -> Result<Option<Vec<Call>>, String> {
    let Some(start) = text.find("{\"tool_calls\"") else { return Ok(None) };
    let mut depth = 0;
    let closes = |(_, byte): &(usize, u8)| {
        depth += i32::from(*byte == b'{') - i32::from(*byte == b'}');
        depth == 0
    };
    let end = text.bytes().enumerate().skip(start).find(closes).ok_or("braces do not match")?.0;
    let said = &text[start..=end];
    let value: Value = serde_json::from_str(said).map_err(|error| format!("{error}: {said}"))?;
    let string = |value: &Value| value.as_str().map(String::from).ok_or(format!("no string: {value}"));
    let call = |call: &Value| {
        string(&call["id"])?;
        if string(&call["type"])? != "function" {
            return Err(format!("another type: {call}"));
        }
        let function = &call["function"];
        let arguments = string(&function["arguments"])?;
        let arguments: Value =
            serde_json::from_str(&arguments).map_err(|error| format!("{error}: {arguments}"))?;
        match arguments.is_object() {
            true => Ok((string(&function["name"])?, arguments)),
            false => Err(format!("no object: {arguments}")),
        }
    };
    value["tool_calls"].as_array().ok_or("no list")?.iter().map(call).collect::<Result<_, _>>().map(Some)
}
