//! `Link` headers as RFC 8288 writes them: `<uri>; rel="next"`, any parameters in any order, several links in one
//! header or one in each of several.
//!
//! A URI may hold commas and semicolons, since Okta echoes a `filter` in it; so nothing is split before the `<…>` and
//! the quoted strings are read.

/// The target of the first link whose relation is `next`, as written between `<` and `>`.
///
/// A link with an `anchor` speaks of another resource and is passed over (RFC 8288, section 3.2).
pub(super) fn next<'a>(headers: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    headers.flat_map(Links).find(|link| link.next && !link.anchored).map(|link| link.target)
}

/// One link-value.
struct Link<'a> {
    target: &'a str,
    next: bool,
    anchored: bool,
}

/// The link-values of one header, from its unread rest.
struct Links<'a>(&'a str);

impl<'a> Iterator for Links<'a> {
    type Item = Link<'a>;

    fn next(&mut self) -> Option<Link<'a>> {
        let (_, rest) = self.0.split_once('<')?;
        let (target, rest) = rest.split_once('>')?;
        let mut link = Link { target: target.trim(), next: false, anchored: false };
        let mut relation_seen = false;
        self.0 = rest.trim_start();
        while let Some(rest) = self.0.strip_prefix(';') {
            let (name, value) = self.parameter(rest);
            if name.eq_ignore_ascii_case("rel") && !relation_seen {
                // Occurrences after the first must be ignored (section 3.3).
                relation_seen = true;
                link.next = value.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case("next"));
            } else if name.eq_ignore_ascii_case("anchor") {
                link.anchored = true;
            }
        }
        Some(link)
    }
}

impl<'a> Links<'a> {
    /// Reads `name`, `name=token` or `name="quoted"` from the start of `rest`; what follows becomes the unread rest.
    /// A backslash in a quoted string only keeps the next quote from ending it: no relation type needs one.
    fn parameter(&mut self, rest: &'a str) -> (&'a str, &'a str) {
        let (name, rest) = cut(rest, |c| matches!(c, '=' | ';' | ','));
        let Some(rest) = rest.strip_prefix('=') else {
            self.0 = rest;
            return (name.trim(), "");
        };
        let Some(quoted) = rest.trim_start().strip_prefix('"') else {
            let (value, rest) = cut(rest, |c| matches!(c, ';' | ','));
            self.0 = rest;
            return (name.trim(), value.trim());
        };
        let mut escaped = false;
        let end = quoted.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let value = &quoted[..end.unwrap_or(quoted.len())];
        let after = end.map_or("", |end| &quoted[end + 1..]);
        self.0 = cut(after, |c| matches!(c, ';' | ',')).1;
        (name.trim(), value)
    }
}

/// Splits before the first character that `stop` knows.
fn cut(text: &str, stop: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(stop).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[&str], expect: Option<&str>) {
        assert_eq!(next(headers.iter().copied()), expect, "{headers:?}");
    }

    #[test]
    fn one_header_for_each_relation_as_okta_sends_them() {
        check(
            &["<https://a/logs?limit=20>; rel=\"self\"", "<https://a/logs?after=1_1>; rel=\"next\""],
            Some("https://a/logs?after=1_1"),
        );
        check(
            &["<https://a/logs?after=1_1>; rel=\"next\"", "<https://a/logs>; rel=\"self\""],
            Some("https://a/logs?after=1_1"),
        );
    }

    #[test]
    fn several_relations_in_one_header() {
        check(&["<https://a/1>; rel=\"self\", <https://a/2>; rel=\"next\""], Some("https://a/2"));
        check(&["<https://a/1>;rel=self,<https://a/2>;rel=next,<https://a/3>;rel=last"], Some("https://a/2"));
        check(&["<https://a/1>; rel=\"self next\""], Some("https://a/1"));
    }

    #[test]
    fn parameters_in_any_order_and_form() {
        check(&["<https://a/2>; title=\"x; rel=self\"; rel=next"], Some("https://a/2"));
        check(&["<https://a/2> ;\ttype = \"a/b\" ; REL = \"NEXT\""], Some("https://a/2"));
        check(&["<https://a/2>; title=\"a \\\" , <https://evil/>; b\"; rel=\"next\""], Some("https://a/2"));
        check(&["<https://a/2>; crossorigin; rel=next"], Some("https://a/2"));
        check(&["<https://a/2>;; rel=next"], Some("https://a/2"));
    }

    #[test]
    fn commas_semicolons_and_quotes_inside_the_address_stay_there() {
        let target = "https://a/logs?filter=a,b;rel=\"self\"&after=2";
        check(&[&format!("<{target}>; rel=\"next\"")], Some(target));
        check(&[&format!("<https://a/x,y>; rel=\"self\", <{target}>; rel=\"next\"")], Some(target));
    }

    #[test]
    fn only_the_first_relation_of_a_link_counts() {
        check(&["<https://a/1>; rel=self; rel=next"], None);
    }

    #[test]
    fn what_is_not_a_next_link_is_not_taken_for_one() {
        check(&[], None);
        check(&[""], None);
        check(&["<https://a/1>"], None);
        check(&["<https://a/1>; rel=\"self\""], None);
        check(&["<https://a/1>; rev=\"next\""], None);
        check(&["<https://a/1>; rel=\"nextish\""], None);
        check(&["<https://a/1>; rel=next; anchor=\"https://b/\""], None);
        check(&["<https://a/1; rel=next"], None);
        check(&["https://a/1; rel=next"], None);
    }

    #[test]
    fn a_broken_link_does_not_hide_the_next_header() {
        check(&["<https://a/1", "garbage", "<https://a/2>; rel=\"next"], Some("https://a/2"));
    }
}
