//! Owner fields: a mapping says an e-mail or a name, LeadSquared takes the id of a user.

use crate::leadsquared::{Attribute, User};

use super::{LeftOut, Plan};

/// The owner of a lead, and the owner of an activity (`leadsquared.md` 6.3, 7.1).
const OWNERS: [&str; 2] = ["OwnerId", "Owner"];

/// Whether a plan names an owner by something else than an id, so that the users must be known.
pub fn names_owners(plan: &Plan) -> bool {
    let activities = plan.activities.iter().flat_map(|activity| &activity.fields);
    plan.lead.attributes.iter().chain(activities).any(is_name)
}

/// Puts ids in the place of e-mail addresses and names; who is no active user, or several, is left out.
pub fn resolve(plan: &mut Plan, users: &[User]) {
    let Plan {
        lead,
        activities,
        left_out,
        ..
    } = plan;
    let lists = activities.iter_mut().map(|activity| &mut activity.fields);
    for attributes in std::iter::once(&mut lead.attributes).chain(lists) {
        attributes.retain_mut(|attribute| {
            if !is_name(attribute) {
                return true;
            }
            let found = find(users, attribute.value.as_deref().unwrap_or_default());
            if found.is_none() {
                left_out.push(LeftOut {
                    field: attribute.name.clone(),
                    why: "no one active user of the account has this e-mail or name",
                });
            }
            attribute.value = found;
            attribute.value.is_some()
        });
    }
}

fn is_name(attribute: &Attribute) -> bool {
    let value = attribute.value.as_deref().unwrap_or_default().trim();
    OWNERS.contains(&attribute.name.as_str())
        && !value.is_empty()
        && uuid::Uuid::try_parse(value).is_err()
}

/// The one active user of an e-mail address, or else of a name.
fn find(users: &[User], asked: &str) -> Option<String> {
    let plain = |text: &str| text.trim().to_lowercase();
    let asked = plain(asked);
    let one = |is_it: &dyn Fn(&User) -> bool| {
        let mut found = users.iter().filter(|user| user.is_active && is_it(user));
        let first = found.next()?;
        found.next().is_none().then(|| first.id.clone())
    };
    one(&|user| plain(&user.email) == asked).or_else(|| one(&|user| plain(&user.name) == asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str, name: &str, email: &str, is_active: bool) -> User {
        User {
            id: id.into(),
            name: name.into(),
            email: email.into(),
            role: "Sales_User".into(),
            is_active,
        }
    }

    #[test]
    fn an_owner_is_the_one_active_user_of_an_address_or_a_name() {
        let users = [
            user("1", "Kim Lee", "kim@example.com", true),
            user("2", "Ana Ortiz", "ana@example.com", true),
            user("3", "Ana Ortiz", "ortiz@example.com", true),
            user("4", "Leo Roe", "leo@example.com", false),
        ];
        let check = |asked: &str, expected: Option<&str>| {
            assert_eq!(find(&users, asked).as_deref(), expected, "{asked}");
        };
        check(" KIM@example.com", Some("1"));
        check("kim lee", Some("1"));
        check("Ana Ortiz", None);
        check("ortiz@example.com", Some("3"));
        check("leo@example.com", None);
        check("nobody", None);
    }
}
