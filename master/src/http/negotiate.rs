//! In which form a request's body is, and its answer is wanted.

use libprocess::http::{Request, Response, StatusCode};

use crate::streams::Media;

const MEDIA: [Media; 2] = [Media::Json, Media::Protobuf];

/// What the body is, by `Content-Type`: compared exactly, parameters included.
pub(crate) fn content_type(request: &Request) -> Result<Media, Response> {
    let Some(given) = request.header("Content-Type") else {
        return Err(Response::text(StatusCode::BAD_REQUEST, "Expecting 'Content-Type' to be present"));
    };
    MEDIA.into_iter().find(|media| media.name() == given).ok_or_else(|| {
        Response::text(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("Expecting 'Content-Type' of application/json or application/x-protobuf, not '{given}'"),
        )
    })
}

/// In what form to answer, by `Accept`. Without one every form will do.
pub(crate) fn accepted(request: &Request) -> Result<Media, Response> {
    let Some(accept) = request.header("Accept") else { return Ok(Media::Json) };
    MEDIA.into_iter().find(|media| accepts(accept, media.name())).ok_or_else(|| {
        Response::text(
            StatusCode::NOT_ACCEPTABLE,
            "Expecting 'Accept' to allow 'application/json' or 'application/x-protobuf'",
        )
    })
}

/// The most specific range that covers the type decides; quality 0 refuses.
fn accepts(accept: &str, media: &str) -> bool {
    let family = media.split('/').next().unwrap_or_default();
    let any_of_family = format!("{family}/*");
    for wanted in [media, any_of_family.as_str(), "*/*"] {
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            if parts.next() != Some(wanted) {
                continue;
            }
            let quality =
                parts.find_map(|part| part.strip_prefix("q=")).map_or(1.0, |q| q.parse().unwrap_or(1.0));
            return quality > 0.0;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::accepts;

    #[test]
    fn the_most_specific_range_decides() {
        for (accept, json, protobuf) in [
            ("application/json", true, false),
            ("application/x-protobuf", false, true),
            ("*/*", true, true),
            ("application/*;q=0.1", true, true),
            ("application/json;q=0, */*", false, true),
            ("text/html, application/json;q=0.5", true, false),
            ("text/html", false, false),
            ("", false, false),
        ] {
            assert_eq!(accepts(accept, "application/json"), json, "{accept}");
            assert_eq!(accepts(accept, "application/x-protobuf"), protobuf, "{accept}");
        }
    }
}
