//! The part of JSON Schema that the document speaks, read more strictly than by its rules: a member that is not
//! described is wrong.

use serde_json::Value;

/// Says where a value does not fit a schema of the document.
pub(super) fn misfit(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    let check = Check { document };
    check.value(schema, value, "$").err()
}

struct Check<'a> {
    document: &'a Value,
}

type Outcome = Result<(), String>;

impl<'a> Check<'a> {
    fn value(&self, schema: &'a Value, value: &Value, at: &str) -> Outcome {
        let schema = self.resolved(schema);
        if let Some(variants) = schema.get("oneOf").or_else(|| schema.get("anyOf")) {
            let variants = list(variants);
            let fitting = variants.iter().filter(|variant| self.value(variant, value, at).is_ok()).count();
            return wanted(fitting == 1, || format!("{at}: {value} fits {fitting} of {}", variants.len()));
        }
        if let Some(constant) = schema.get("const") {
            return wanted(constant == value, || format!("{at}: {value} is not {constant}"));
        }
        if let Some(words) = schema.get("enum") {
            return wanted(list(words).contains(value), || format!("{at}: {value} is none of {words}"));
        }
        let types = &schema["type"];
        let is_of = |name: &str| *types == *name || list(types).iter().any(|known| *known == *name);
        match value {
            Value::Null => wanted(is_of("null"), || format!("{at}: null is not {types}")),
            Value::Bool(_) => wanted(is_of("boolean"), || format!("{at}: {value} is not {types}")),
            Value::Number(_) => wanted(is_of("integer"), || format!("{at}: {value} is not {types}")),
            Value::String(_) => wanted(is_of("string"), || format!("{at}: {value} is not {types}")),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .try_for_each(|(index, item)| self.value(&schema["items"], item, &format!("{at}[{index}]"))),
            Value::Object(_) => self.object(schema, value, at),
        }
    }

    fn object(&self, schema: &'a Value, value: &Value, at: &str) -> Outcome {
        let parts = match schema.get("allOf") {
            Some(parts) => list(parts).iter().map(|part| self.resolved(part)).collect(),
            None => vec![schema],
        };
        for name in parts.iter().flat_map(|part| list(&part["required"])) {
            let is_there = name.as_str().is_some_and(|name| value.get(name).is_some());
            wanted(is_there, || format!("{at}: {name} is missing"))?;
        }
        for (name, member) in value.as_object().into_iter().flatten() {
            let described = parts.iter().find_map(|part| part["properties"].get(name));
            let described = described.ok_or_else(|| format!("{at}.{name} is not described"))?;
            self.value(described, member, &format!("{at}.{name}"))?;
        }
        Ok(())
    }

    fn resolved(&self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
            Some(pointer) => self.document.pointer(pointer).unwrap_or(&Value::Null),
            None => schema,
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn wanted(holds: bool, why_not: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(why_not()) }
}
