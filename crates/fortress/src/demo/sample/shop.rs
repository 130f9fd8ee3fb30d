//! What the sample API keeps: users and orders, in memory.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

/// More orders than a demo makes; the oldest of those that were created go first.
const ORDERS: usize = 1_000;

/// The state of the shop.
#[derive(Debug)]
pub(super) struct Shop {
    /// By id, from 1.
    users: Vec<Value>,
    /// The first ones are those that the demo speaks of.
    orders: VecDeque<Value>,
    next: u64,
}

impl Shop {
    /// Three users and four orders.
    pub(super) fn new() -> Self {
        let user = |id: u64, name: &str, display: &str, role: &str, password: &str| {
            json!({
                "id": id, "username": name, "displayName": display,
                "email": format!("{name}@example.com"), "role": role,
                "password": password,
                // What the database row has, the client gets.
                "passwordHash": format!("$2b$12$demo{id}{name}"),
                "lastLoginAddress": "192.0.2.10",
            })
        };
        let order = |id: u64, owner: &str, sku: &str, note: &str| {
            json!({
                "id": id, "owner": owner, "status": "open",
                "items": [{ "sku": sku, "quantity": 2 }],
                "address": { "street": "Cheshire Lane 7", "city": "Daresbury", "country": "GB" },
                "gift": false, "note": note, "total": 1998, "created": "2026-01-31T10:12:03Z",
                "internalNotes": "call before delivery; disputed card",
                "margin": 0.41,
            })
        };
        Self {
            users: vec![
                user(1, "alice", "Alice", "customer", "wonderland"),
                user(2, "bob", "Bob", "customer", "canfixit!"),
                user(3, "carol", "Carol", "admin", "correct horse"),
            ],
            orders: VecDeque::from([
                order(17, "alice", "TEA-001", "a teapot"),
                order(18, "alice", "CUP-002", "two cups"),
                order(23, "bob", "HAT-003", "a hat"),
                order(42, "bob", "TEA-009", "a teapot, blue"),
            ]),
            next: 100,
        }
    }

    /// The user with this name and password.
    pub(super) fn login(&self, name: &str, password: &str) -> Option<&Value> {
        self.user_named(name)
            .filter(|user| user.get("password").and_then(Value::as_str) == Some(password))
    }

    /// The user with this name.
    pub(super) fn user_named(&self, name: &str) -> Option<&Value> {
        self.users
            .iter()
            .find(|user| user.get("username").and_then(Value::as_str) == Some(name))
    }

    /// The user with this id.
    pub(super) fn user(&self, id: u64) -> Option<&Value> {
        self.users
            .iter()
            .find(|user| user.get("id").and_then(Value::as_u64) == Some(id))
    }

    /// All users.
    pub(super) fn users(&self) -> &[Value] {
        &self.users
    }

    /// Takes over every property of `changes`, `role` included: mass assignment.
    pub(super) fn update_user(
        &mut self,
        name: &str,
        changes: &Map<String, Value>,
    ) -> Option<Value> {
        let user = self
            .users
            .iter_mut()
            .find(|user| user.get("username").and_then(Value::as_str) == Some(name))?;
        let mut answered = user.clone();
        for (key, value) in changes {
            if let Some(record) = answered.as_object_mut() {
                record.insert(key.clone(), value.clone());
            }
            // What would leave the demo without its users is answered, but not kept.
            let kept = match key.as_str() {
                "id" | "username" | "password" | "email" => false,
                "displayName" => value
                    .as_str()
                    .is_some_and(|text| (1..=64).contains(&text.len())),
                _ => user.as_object().is_some_and(|record| record.len() < 64),
            };
            if let Some(record) = user.as_object_mut().filter(|_| kept) {
                record.insert(key.clone(), value.clone());
            }
        }
        Some(answered)
    }

    /// All orders.
    pub(super) fn orders(&self) -> impl Iterator<Item = &Value> {
        self.orders.iter()
    }

    /// The order with this id, whoever asks.
    pub(super) fn order(&self, id: u64) -> Option<&Value> {
        self.orders
            .iter()
            .find(|order| order.get("id").and_then(Value::as_u64) == Some(id))
    }

    /// Changes an order. The four that the demo speaks of go back to `open` for the next request,
    /// so that a demo can be repeated.
    pub(super) fn set_status(&mut self, id: u64, status: &str) -> Option<Value> {
        let order = self
            .orders
            .iter_mut()
            .find(|order| order.get("id").and_then(Value::as_u64) == Some(id))?;
        let mut changed = order.clone();
        changed
            .as_object_mut()?
            .insert(String::from("status"), Value::from(status));
        if id >= 100 {
            *order = changed.clone();
        }
        Some(changed)
    }

    /// Makes what the client sent into an order, `total`, `owner` and `status` included.
    pub(super) fn create_order(&mut self, owner: &str, sent: &Map<String, Value>) -> Value {
        let id = self.next;
        self.next += 1;
        let mut order = json!({
            "id": id, "owner": owner, "status": "open", "items": [], "total": 1998,
            "created": "2026-01-31T10:12:03Z", "internalNotes": "", "margin": 0.41,
        });
        if let Some(record) = order.as_object_mut() {
            for (key, value) in sent {
                record.insert(key.clone(), value.clone());
            }
        }
        // As above: an order that no client could read would be in everybody's list from now on.
        if readable(&order) {
            if self.orders.len() >= ORDERS {
                self.orders.remove(4);
            }
            self.orders.push_back(order.clone());
        }
        order
    }
}

fn readable(order: &Value) -> bool {
    let text = |value: &Value, key: &str| value.get(key).is_some_and(Value::is_string);
    let number = |value: &Value, key: &str| value.get(key).is_some_and(Value::is_u64);
    let items = order.get("items").and_then(Value::as_array);
    items.is_some_and(|items| {
        items.len() <= 50
            && items
                .iter()
                .all(|item| text(item, "sku") && number(item, "quantity"))
    }) && order.get("address").is_some_and(|address| {
        ["street", "city", "country"]
            .iter()
            .all(|key| text(address, key))
    }) && number(order, "id")
        && number(order, "total")
        && text(order, "owner")
        && ["open", "paid", "cancelled"]
            .iter()
            .any(|status| order.get("status") == Some(&Value::from(*status)))
        && order.get("gift").is_none_or(Value::is_boolean)
        && order.get("note").is_none_or(Value::is_string)
        && order
            .get("created")
            .is_some_and(|created| created == "2026-01-31T10:12:03Z")
}
