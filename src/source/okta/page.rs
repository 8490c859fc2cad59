//! A page of the log: from an address and a token to a whole page, or a [`Trouble`] with its name.
//!
//! A page is taken whole or not at all. Nothing of a reply that breaks off, is no list of events, or leads to another
//! origin leaves this file.

use std::time::Instant;

use reqwest::{Response, StatusCode};
use url::Url;

use super::request::{Head, Request, next_link};
use super::trouble::Trouble;
use crate::event::{AuthEvent, Reject, Timestamp};
use crate::http::{self, BodyError};
use crate::input::Input;
use crate::source::{ReadPage, Texts};

/// The longest page, after decompression: twenty times the planning figure of 3 kB an event for 1,000 events.
const LONGEST_PAGE: usize = 64 << 20;

/// A page that is whole.
#[derive(Debug)]
pub(super) struct Page {
    /// An event or a reject for each record.
    pub(super) inputs: Vec<Input>,
    /// The texts of those that are wanted whole.
    pub(super) texts: Texts,
    /// How many records it holds.
    pub(super) records: usize,
    /// Where to go on, of the same origin; `None` after the last page of a query with an end.
    pub(super) next: Option<Url>,
    /// The server's clock when it answered.
    pub(super) date: Option<Timestamp>,
    /// When the whole of it was received.
    pub(super) received: Instant,
}

/// What is needed to ask for a page, apart from the address.
pub(super) struct Asker<'a> {
    pub(super) request: Request<'a>,
    pub(super) read: &'a ReadPage,
    /// The configured address: its origin is the only one that gets the token.
    pub(super) home: &'a Url,
    /// Whether the address was given by the server, so that a 400 means that it no longer knows it.
    pub(super) from_link: bool,
}

impl Asker<'_> {
    /// Fetches one page; `again` is told where a second request is made for it. The head comes back with a trouble too,
    /// where there was a reply at all.
    pub(super) async fn ask(&self, url: Url, again: impl FnOnce()) -> (Head, Result<Page, Trouble>) {
        let is_app = self.request.authorizer.is_app();
        let refused = |status, code| match status {
            StatusCode::FORBIDDEN if is_app => Trouble::AppForbidden(code),
            StatusCode::FORBIDDEN => Trouble::Forbidden(code),
            StatusCode::BAD_REQUEST | StatusCode::GONE if self.from_link => Trouble::CursorRefused(code),
            StatusCode::BAD_REQUEST => Trouble::BadRequest(code),
            status => Trouble::Status(status.as_u16()),
        };
        let (head, reply) = self.request.send(url.clone(), refused, again).await;
        let page = match reply {
            Ok(reply) => self.page(&url, reply).await,
            Err(trouble) => Err(trouble),
        };
        (head, page)
    }

    async fn page(&self, url: &Url, reply: Response) -> Result<Page, Trouble> {
        let date = http::date(reply.headers());
        let next = next_link(url, reply.headers(), self.home);
        let body = http::body(reply, LONGEST_PAGE).await.map_err(|error| match error {
            BodyError::TooLong(_) => Trouble::TooLarge,
            BodyError::Broken(error) => Trouble::transport(&error),
        })?;
        let received = crate::clock::monotonic();
        let source = self.request.source;
        let (mut inputs, mut texts) = (Vec::new(), Texts::new());
        let mut each = |record: Result<AuthEvent, Reject>, text: Option<Box<str>>| {
            let source = source.clone();
            texts.extend(text.map(|text| (inputs.len(), text)));
            inputs.push(match record {
                Ok(event) => Input::Event { source, event: Box::new(event) },
                Err(reason) => Input::Reject { source, reason },
            });
        };
        let records = (self.read)(&body, &mut each).map_err(|error| {
            tracing::debug!(%source, error, bytes = body.len(), "page discarded");
            Trouble::BadPage
        })?;
        Ok(Page { inputs, texts, records, next: next?, date, received })
    }
}
