//! Formats as patterns. They are narrower than what the formats allow where the rest is of little use.

/// The pattern of a format of strings.
pub(super) fn pattern(name: &[u8]) -> Option<&'static [u8]> {
    let pattern = match name {
        b"date" => DATE,
        b"time" => TIME,
        b"date-time" => DATE_TIME,
        b"uuid" => "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$",
        b"email" => EMAIL,
        b"ipv4" => IPV4,
        b"ipv6" => IPV6,
        b"uri" => URI,
        _ => return None,
    };
    Some(pattern.as_bytes())
}

/// Whether a format is one of numbers.
pub(super) fn is_numeric(name: &[u8]) -> bool {
    matches!(name, b"int32" | b"int64" | b"float" | b"double")
}

/// The integers of a format. Others take more than is ever written.
pub(super) fn range(name: &[u8]) -> Option<(i64, i64)> {
    (name == b"int32").then_some((i32::MIN.into(), i32::MAX.into()))
}

macro_rules! date {
    () => {
        "(?:[1-9][0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|\
         (?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|\
         (?:[1-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)-02-29)"
    };
}

/// A leap second ends a day of UTC; with other offsets it is not written.
macro_rules! time {
    () => {
        "(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,6})?\
         (?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])|23:59:60(?:\\.[0-9]{1,6})?(?:[Zz]|[+-]00:00))"
    };
}

/// Years from 1000 on.
const DATE: &str = concat!("^", date!(), "$");
const TIME: &str = concat!("^", time!(), "$");
const DATE_TIME: &str = concat!("^", date!(), "[Tt]", time!(), "$");

macro_rules! ipv4 {
    () => {
        "(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
    };
}

/// All groups, or some before and after the gap that `::` is: at most seven of them. The last two may be an IPv4 address.
macro_rules! ipv6 {
    () => {
        concat!(
            "(?:(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}|(?:[0-9a-fA-F]{1,4}:){1,3}(?::[0-9a-fA-F]{1,4}){1,4}|\
             (?:[0-9a-fA-F]{1,4}:){1,6}:|::(?:[0-9a-fA-F]{1,4}:){0,5}[0-9a-fA-F]{1,4}|::|\
             (?:(?:[0-9a-fA-F]{1,4}:){6}|::(?:[0-9a-fA-F]{1,4}:){0,4}|\
             (?:[0-9a-fA-F]{1,4}:){1,2}:(?:[0-9a-fA-F]{1,4}:){0,2})",
            ipv4!(),
            ")"
        )
    };
}

/// What stands before the `@` may be in quotes, and a host may be an address in brackets.
const EMAIL: &str = concat!(
    "^(?:[A-Za-z0-9_+~-]{1,32}(?:\\.[A-Za-z0-9_+~-]{1,16}){0,2}|\"[A-Za-z0-9 ._@-]{1,32}\")@\
     (?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?(?:\\.[A-Za-z]{2,12}){1,2}|\\[(?:",
    ipv4!(),
    "|IPv6:",
    ipv6!(),
    ")\\])$"
);

const IPV4: &str = concat!("^", ipv4!(), "$");
const IPV6: &str = concat!("^", ipv6!(), "$");

macro_rules! uri_part {
    ($extra:literal) => {
        concat!("(?:[A-Za-z0-9._~!$&'()*+,;=:@", $extra, "-]|%[0-9A-Fa-f]{2})")
    };
}

/// With the name of a host after two slashes, or without slashes (`mailto:`, `urn:`).
const URI: &str = concat!(
    "^[A-Za-z][A-Za-z0-9+.-]{0,15}:(?://(?:(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2}){1,64}@)?\
     (?:[A-Za-z0-9._~-]{1,64}|\\[",
    ipv6!(),
    "\\])(?::[0-9]{1,5})?(?:/",
    uri_part!("/"),
    "*)?|",
    uri_part!(""),
    uri_part!("/"),
    "*)(?:\\?",
    uri_part!("/?"),
    "*)?(?:#",
    uri_part!("/?"),
    "*)?$"
);
