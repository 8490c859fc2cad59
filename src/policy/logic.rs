//! Three-valued logic: what the evidence does not say stays `unknown` and is never taken for a pass or a fail.
//!
//! Kleene's tables: `and` is the worse of two, `or` the better, with `fail < unknown < pass`.

use crate::event::CheckVerdict;

/// What is known becomes pass or fail.
pub(super) const fn known(holds: Option<bool>) -> CheckVerdict {
    match holds {
        Some(true) => CheckVerdict::Pass,
        Some(false) => CheckVerdict::Fail,
        None => CheckVerdict::Unknown,
    }
}

/// Both must hold.
pub(super) const fn and(a: CheckVerdict, b: CheckVerdict) -> CheckVerdict {
    match (a, b) {
        (CheckVerdict::Fail, _) | (_, CheckVerdict::Fail) => CheckVerdict::Fail,
        (CheckVerdict::Pass, CheckVerdict::Pass) => CheckVerdict::Pass,
        (CheckVerdict::Unknown, _) | (_, CheckVerdict::Unknown) => CheckVerdict::Unknown,
    }
}

/// One must hold.
pub(super) const fn or(a: CheckVerdict, b: CheckVerdict) -> CheckVerdict {
    not(and(not(a), not(b)))
}

/// It must not hold.
pub(super) const fn not(a: CheckVerdict) -> CheckVerdict {
    match a {
        CheckVerdict::Pass => CheckVerdict::Fail,
        CheckVerdict::Fail => CheckVerdict::Pass,
        CheckVerdict::Unknown => CheckVerdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CheckVerdict::{Fail, Pass, Unknown};

    #[test]
    fn the_tables_are_kleenes() {
        for (a, b, both, one) in [
            (Pass, Pass, Pass, Pass),
            (Pass, Fail, Fail, Pass),
            (Pass, Unknown, Unknown, Pass),
            (Fail, Fail, Fail, Fail),
            (Fail, Unknown, Fail, Unknown),
            (Unknown, Unknown, Unknown, Unknown),
        ] {
            assert_eq!((and(a, b), and(b, a), or(a, b), or(b, a)), (both, both, one, one), "{a} {b}");
        }
        assert_eq!((known(Some(true)), known(Some(false)), known(None)), (Pass, Fail, Unknown));
    }
}
