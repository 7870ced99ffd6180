//! What becomes of uploads that were begun and not finished.

use hyper::Request;
use object_store::client::{ClientOptions, HttpConnector, HttpRequestBody, ReqwestConnector};

use super::answer::{Answer, element};
use super::failure::joined;

/// How a bucket is rid of unfinished uploads, whose parts take space and are in no listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leftovers {
    /// They go away, and how.
    Removed(String),
    /// They stay.
    Kept {
        /// What to do about it.
        action: String,
    },
    /// It is not known, and why.
    Unknown(String),
}

/// The words by which S3 and Google name the action, and after which time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect {
    /// The element that a rule of this kind has.
    pub(super) action: &'static str,
    /// The element with its age in days.
    pub(super) days: &'static str,
    /// The element with the beginning of the names that it is for, if not for all.
    pub(super) prefix: &'static str,
    /// Whether a rule says that it is in force.
    pub(super) has_status: bool,
    /// What to do when there is no such rule.
    pub(super) advice: &'static str,
}

impl Dialect {
    /// Asks a store for the rules of a bucket. That this is not allowed, or that the store has none, is no failure. `folder` is
    /// where our objects are.
    pub(super) async fn ask(
        &self,
        options: &ClientOptions,
        question: Request<HttpRequestBody>,
        folder: &str,
    ) -> Leftovers {
        let client = match ReqwestConnector::default().connect(options) {
            Ok(client) => client,
            Err(error) => return Leftovers::Unknown(super::describe(&error)),
        };
        let unknown = |error: &(dyn std::error::Error + 'static)| Leftovers::Unknown(joined(error));
        let response = match client.execute(question).await {
            Ok(response) => response,
            Err(error) => return unknown(&error),
        };
        // MinIO has no such rules, and removes what is a day old without.
        if response.headers().get("server").is_some_and(|server| server == "MinIO") {
            return Leftovers::Removed("MinIO removes them itself, after a day".to_owned());
        }
        let status = response.status().as_u16();
        match response.into_body().bytes().await {
            Ok(body) => self.read(status, &String::from_utf8_lossy(&body), folder),
            Err(error) => unknown(&error),
        }
    }

    fn read(&self, status: u16, body: &str, folder: &str) -> Leftovers {
        let kept = || Leftovers::Kept { action: self.advice.to_owned() };
        match status {
            200 => match self.days(body, folder) {
                Some(1) => Leftovers::Removed("a lifecycle rule removes them after a day".to_owned()),
                Some(days) => Leftovers::Removed(format!("a lifecycle rule removes them after {days} days")),
                None => kept(),
            },
            _ => match Answer::new(status, body) {
                Answer { code: Some(code), .. } if code == "NoSuchLifecycleConfiguration" => kept(),
                answer => Leftovers::Unknown(answer.to_string()),
            },
        }
    }

    /// Returns the age of the rule that is for all of the folder, the youngest if there are several.
    fn days(&self, body: &str, folder: &str) -> Option<u32> {
        let rules = body.split("<Rule>").skip(1).filter(|rule| {
            let rule = rule.split("</Rule>").next().unwrap_or_default();
            let is_on = !self.has_status || element(rule, "Status").as_deref() == Some("Enabled");
            let reaches = element(rule, self.prefix).is_none_or(|prefix| folder.starts_with(&prefix));
            rule.contains(&format!("<{}", self.action)) && is_on && reaches
        });
        rules.filter_map(|rule| element(rule, self.days)?.parse().ok()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIALECT: Dialect = Dialect {
        action: "AbortIncompleteMultipartUpload",
        days: "DaysAfterInitiation",
        prefix: "Prefix",
        has_status: true,
        advice: "make a rule",
    };

    fn rule(status: &str, prefix: &str, days: u32) -> String {
        format!(
            "<Rule><ID>1</ID><Filter><Prefix>{prefix}</Prefix></Filter><Status>{status}</Status>\
             <AbortIncompleteMultipartUpload><DaysAfterInitiation>{days}</DaysAfterInitiation>\
             </AbortIncompleteMultipartUpload></Rule>"
        )
    }

    #[test]
    fn a_rule_counts_if_it_is_on_and_reaches_our_folder() {
        let expiry = "<Rule><Prefix></Prefix><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule>";
        for (rules, expected) in [
            (rule("Enabled", "", 7), Some(7)),
            (rule("Enabled", "team/", 7), Some(7)),
            (rule("Enabled", "other/", 7), None),
            (rule("Disabled", "", 7), None),
            (format!("{}{}", rule("Enabled", "", 7), rule("Enabled", "", 3)), Some(3)),
            (expiry.to_owned(), None),
            (format!("{expiry}{}", rule("Enabled", "", 2)), Some(2)),
            (String::new(), None),
        ] {
            let body = format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>");
            assert_eq!(DIALECT.days(&body, "team/images"), expected, "{rules}");
        }
    }

    #[test]
    fn a_refusal_leaves_it_unknown_and_no_rules_at_all_are_none() {
        let refusal = |code: &str| format!("<Error><Code>{code}</Code><Message>No.</Message></Error>");
        let kept = Leftovers::Kept { action: "make a rule".to_owned() };
        assert_eq!(DIALECT.read(404, &refusal("NoSuchLifecycleConfiguration"), ""), kept);
        assert_eq!(DIALECT.read(200, "<LifecycleConfiguration/>", ""), kept);
        for (status, code) in [(403, "AccessDenied"), (501, "NotImplemented"), (405, "MethodNotAllowed")] {
            let Leftovers::Unknown(why) = DIALECT.read(status, &refusal(code), "") else { panic!("{code}") };
            assert!(why.contains(code), "{why}");
        }
    }
}
