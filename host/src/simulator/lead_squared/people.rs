//! The users of the account, and what a person would do to them in the user interface.

use serde::Serialize;
use uuid::Uuid;

use super::Dice;
use super::account::Account;
use super::answer::{Answer, Refusal};
use super::server::Call;

/// One user.
#[derive(Debug, Clone)]
pub(super) struct Person {
    id: Uuid,
    first_name: &'static str,
    last_name: &'static str,
    email: &'static str,
    role: String,
    is_active: bool,
}

/// The users that an account has at first; the first one's are the keys.
pub(super) fn staff(owner: Uuid, dice: &mut Dice) -> Vec<Person> {
    let person = |id, first_name, last_name, email, role: &str| Person {
        id,
        first_name,
        last_name,
        email,
        role: role.to_owned(),
        is_active: true,
    };
    vec![
        person(
            owner,
            "Bridge",
            "User",
            "bridge@example.com",
            "Administrator",
        ),
        person(dice.id(), "Kim", "Lee", "kim@example.com", "Sales_User"),
        person(
            dice.id(),
            "Ravi",
            "Nair",
            "ravi@example.com",
            "Marketing_User",
        ),
    ]
}

impl Account {
    /// The user who works in the user interface: not the one whose keys are used.
    pub(super) fn clerk(&self) -> Uuid {
        self.people.get(1).map_or(self.user.id, |person| person.id)
    }

    pub(super) fn name_of(&self, user: Uuid) -> String {
        let found = self.people.iter().find(|person| person.id == user);
        found.map_or_else(String::new, |person| {
            format!("{} {}", person.first_name, person.last_name)
        })
    }

    /// Gives the user of this address another role, or deactivates them; says whether there is one.
    pub(super) fn change_user(&mut self, email: &str, role: &str, is_active: bool) -> bool {
        let found = self.people.iter_mut().find(|person| person.email == email);
        let Some(person) = found else { return false };
        person.role = role.to_owned();
        person.is_active = is_active;
        true
    }
}

pub(super) fn users(account: &mut Account, _: &Call) -> Result<Answer, Refusal> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct View<'a> {
        #[serde(rename = "ID")]
        id: String,
        first_name: &'a str,
        last_name: &'a str,
        email_address: &'a str,
        role: &'a str,
        status_code: u32,
        member_of_groups: [&'a str; 0],
        tag: Option<&'a str>,
        is_phone_call_agent: bool,
    }
    let views: Vec<View<'_>> = account
        .people
        .iter()
        .map(|person| View {
            id: person.id.to_string(),
            first_name: person.first_name,
            last_name: person.last_name,
            email_address: person.email,
            role: &person.role,
            status_code: u32::from(!person.is_active),
            member_of_groups: [],
            tag: None,
            is_phone_call_agent: false,
        })
        .collect();
    Ok(Answer::json(&views))
}
