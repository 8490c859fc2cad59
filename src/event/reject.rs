//! Why a record could not become an event: a closed list, each counted.

use super::vocabulary::vocabulary;

vocabulary! {
    /// The reason that a record is kept out of every count but `rejected{reason}`.
    Reject {
        /// Not UTF-8.
        NotUtf8 => "not_utf8",
        /// Not JSON, or cut off.
        NotJson => "not_json",
        /// JSON, but no object: a number, a string, an empty line's remains.
        NotAnObject => "not_an_object",
        /// An object that is neither an event nor a known envelope of events.
        NoEventType => "no_event_type",
        /// `published` is more than 5 min after `now`.
        Future => "future",
        /// A field that has one meaning has a shape that no known sender uses.
        BadShape => "bad_shape",
        /// Longer than the limit for one record.
        TooLarge => "too_large",
        /// Nested deeper than the limit.
        TooDeep => "too_deep",
    }
}
