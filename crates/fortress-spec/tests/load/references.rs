//! Where references lead, and which are refused.

use crate::support::{check_files, description, load_files, messages};
use fortress_model::document::Sources;
use fortress_spec::{Disk, load};

const V30: &str = "openapi: 3.0.3\ninfo: {title: T, version: '1'}\n";
const V31: &str = "openapi: 3.1.0\ninfo: {title: T, version: '1'}\n";

/// An operation whose request body has this schema, on line 6.
fn with_schema(head: &str, schema: &str, rest: &str) -> String {
    format!(
        "{head}paths:\n  /a:\n    post:\n      requestBody: {{content: {{application/json: {{schema: {schema}}}}}}}\n      responses: {{'200': {{description: d}}}}\n{rest}"
    )
}

#[track_caller]
fn check(head: &str, schema: &str, rest: &str, expect: &str) {
    check_files(
        &[("openapi.yaml", &with_schema(head, schema, rest))],
        expect,
    );
}

#[test]
fn within_the_file() {
    let components = "components:\n  schemas:\n    Pet: {type: object, properties: {a: {type: integer}}}\n    a/b~c d: {type: string}\n";
    check(V30, "{$ref: '#/components/schemas/Pet'}", components, "ok");
    check(
        V30,
        "{$ref: '#/components/schemas/Pet/properties/a'}",
        components,
        "ok",
    );
    check(
        V30,
        "{$ref: '#/components/schemas/a~1b~0c%20d'}",
        components,
        "ok",
    );
    check(
        V30,
        "{$ref: '#/components/schemas/Pets'}",
        components,
        "error openapi.yaml:6:65 `#/components/schemas/Pets` leads nowhere: there is no `Pets` (did you mean `Pet`?)",
    );
    check(
        V30,
        "{$ref: '#/component/schemas/Pet'}",
        components,
        "there is no `component` (did you mean `components`?)",
    );
    check(V30, "{$ref: Pet}", components, "cannot read `Pet`");
    check(
        V30,
        "{$ref: '#Pet'}",
        components,
        "there is no anchor `Pet`",
    );
    check(
        V30,
        "{$ref: '#/components/schemas/%zz'}",
        components,
        "leads nowhere",
    );
}

#[test]
fn large_objects_are_indexed() {
    let schemas: String = (0..3_000)
        .map(|n| format!("    S{n}: {{type: string}}\n"))
        .collect();
    let components = format!("components:\n  schemas:\n{schemas}");
    check(
        V30,
        "{$ref: '#/components/schemas/S2999'}",
        &components,
        "ok",
    );
    check(
        V30,
        "{$ref: '#/components/schemas/S3000'}",
        &components,
        "there is no `S3000`",
    );
}

#[test]
fn cyclic_schemas_are_fine() {
    let components = "components:\n  schemas:\n    Node: {type: object, properties: {next: {$ref: '#/components/schemas/Node'}}}\n";
    check(V30, "{$ref: '#/components/schemas/Node'}", components, "ok");
    check(V31, "{$ref: '#/components/schemas/Node'}", components, "ok");
}

#[test]
fn remote_references_are_refused() {
    for (reference, shown) in [
        (
            "https://example.com/a.yaml#/A",
            "https://example.com/a.yaml",
        ),
        ("http://example.com/a.yaml", "http://example.com/a.yaml"),
        ("//example.com/a.yaml", "//example.com/a.yaml"),
        ("file:///etc/passwd", "file:///etc/passwd"),
        ("urn:a:b", "urn:a:b"),
    ] {
        let expect = format!(
            "error openapi.yaml:6:65 the remote reference `{shown}` is not fetched (save the file beside the description"
        );
        check(V30, &format!("{{$ref: '{reference}'}}"), "", &expect);
    }
    check(
        V30,
        "{$ref: '/etc/passwd'}",
        "",
        "names a file by its absolute path",
    );
}

#[test]
fn across_files() {
    let root = with_schema(V30, "{$ref: 'schemas/pet.yaml#/Pet'}", "");
    let pet =
        "Pet: {type: object, properties: {tag: {$ref: '../tag.json'}, self: {$ref: '#/Pet'}}}\n";
    let tag = "{\"type\": \"string\"}";
    let files = [
        ("openapi.yaml", root.as_str()),
        ("schemas/pet.yaml", pet),
        ("tag.json", tag),
    ];
    check_files(&files, "ok");
    let read: Vec<String> = description(&files)
        .files
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    assert_eq!(read, ["openapi.yaml", "schemas/pet.yaml", "tag.json"]);
    check_files(
        &files[..2],
        "error schemas/pet.yaml:1:46 cannot read `../tag.json`: no such file",
    );
    check_files(
        &files[..1],
        "error openapi.yaml:6:65 cannot read `schemas/pet.yaml`: no such file",
    );
    let broken = [files[0], ("schemas/pet.yaml", "a: b: c")];
    let (loaded, sources) = load_files(&broken);
    let messages = messages(&loaded, &sources);
    assert!(
        messages
            .iter()
            .any(|message| message.starts_with("error schemas/pet.yaml:1:")),
        "{messages:?}"
    );
    assert!(
        messages
            .iter()
            .any(|message| message.contains("it does not parse")),
        "{messages:?}"
    );
}

#[test]
fn outside_the_directory() {
    let root = with_schema(V30, "{$ref: '../common.yaml'}", "");
    let common = "{type: string}";
    check_files(
        &[("api/openapi.yaml", &root), ("common.yaml", common)],
        "warning api/openapi.yaml:6:65 `../common.yaml` lies outside the description's directory",
    );
    check_files(
        &[("api/openapi.yaml", &root)],
        "error api/openapi.yaml:6:65 cannot read `../common.yaml`",
    );
    let inside = with_schema(V30, "{$ref: 'a/../b.yaml'}", "");
    check_files(
        &[("api/openapi.yaml", &inside), ("api/b.yaml", common)],
        "ok",
    );
}

#[test]
fn parameters_responses_bodies_and_path_items_may_be_references() {
    let text = format!(
        "{V30}paths:\n  /a/{{id}}:\n    $ref: 'paths.yaml#/~1a~1%7Bid%7D'\ncomponents:\n  parameters:\n    Id: {{name: id, in: path, required: true, schema: {{type: string}}}}\n    Again: {{$ref: '#/components/parameters/Id'}}\n"
    );
    let paths = "/a/{id}:\n  parameters: [{$ref: 'openapi.yaml#/components/parameters/Again'}]\n  post:\n    operationId: one\n    requestBody: {$ref: '#/body'}\n    responses: {'200': {$ref: '#/answer'}}\nbody: {content: {text/plain: {}}}\nanswer: {description: d}\n";
    let description = description(&[("openapi.yaml", &text), ("paths.yaml", paths)]);
    let operation = description.operation("one").expect("the operation");
    assert_eq!(operation.parameters.iter().count(), 1);
    assert!(operation.body.is_some());
    assert_eq!(description.files.len(), 2);
}

#[test]
fn component_path_items() {
    let text = format!(
        "{V31}paths:\n  /a: {{$ref: '#/components/pathItems/A'}}\ncomponents:\n  pathItems:\n    A: {{get: {{operationId: one, responses: {{}}}}}}\n"
    );
    assert!(
        description(&[("openapi.yaml", &text)])
            .operation("one")
            .is_some()
    );
    let text = text.replace("pathItems/A", "pathItems/B");
    check_files(&[("openapi.yaml", text.as_str())], "there is no `B`");
}

#[test]
fn cyclic_references_are_refused_where_nothing_would_be_left() {
    let with = |operation: &str, components: &str, expect: &str| {
        let text = format!(
            "{V30}paths:\n  /a:\n    post:\n      responses: {{'200': {{description: d}}}}\n      {operation}\ncomponents:\n  {components}\n"
        );
        let (loaded, sources) = load_files(&[("openapi.yaml", &text)]);
        let messages = messages(&loaded, &sources);
        assert!(
            messages.iter().any(|message| message.contains(expect)),
            "{messages:?}"
        );
        assert!(loaded.description.is_none());
    };
    let expect = "this reference leads back to itself";
    with(
        "parameters: [{$ref: '#/components/parameters/A'}]",
        "parameters: {A: {$ref: '#/components/parameters/A'}}",
        expect,
    );
    with(
        "parameters: [{$ref: '#/components/parameters/A'}]",
        "parameters: {A: {$ref: '#/components/parameters/B'}, B: {$ref: '#/components/parameters/A'}}",
        expect,
    );
    with(
        "requestBody: {$ref: '#/components/requestBodies/A'}",
        "requestBodies: {A: {$ref: '#/components/requestBodies/A'}}",
        expect,
    );
    with(
        "parameters: [{$ref: 7}]",
        "parameters: {}",
        "`$ref` should be a string, this is a number",
    );
    let text =
        format!("{V30}paths:\n  /a: {{$ref: '#/paths/~1b'}}\n  /b: {{$ref: '#/paths/~1a'}}\n");
    let (loaded, _) = load_files(&[("openapi.yaml", &text)]);
    assert!(loaded.description.is_none());
}

#[test]
fn siblings_of_references() {
    let with = |head: &str, siblings: &str, expect: &str| {
        let text = format!(
            "{head}paths:\n  /a:\n    get:\n      parameters: [{{$ref: '#/components/parameters/A', {siblings}}}]\n      responses: {{'200': {{description: d}}}}\ncomponents:\n  parameters: {{A: {{name: q, in: query, schema: {{type: string}}}}}}\n"
        );
        check_files(&[("openapi.yaml", &text)], expect);
    };
    with(V31, "description: d", "ok");
    with(V31, "summary: d", "ok");
    with(
        V31,
        "required: true",
        "warning openapi.yaml:6:56 `required` beside `$ref` is ignored",
    );
    with(V30, "description: d", "ok");
    with(
        V30,
        "required: true",
        "warning openapi.yaml:6:56 `required` beside `$ref` is ignored",
    );
    with(V30, "x-a: d", "ok");
}

#[test]
fn siblings_of_references_to_schemas() {
    let rest = "components:\n  schemas: {A: {type: string}}\n";
    let with = |head: &str, expect: &str| {
        check(
            head,
            "{$ref: '#/components/schemas/A', maxLength: 3, description: d}",
            rest,
            expect,
        );
    };
    with(V31, "ok");
    with(
        V30,
        "warning openapi.yaml:6:91 `maxLength` beside `$ref` is ignored (in a schema put the reference inside `allOf",
    );
}

#[test]
fn path_items_with_siblings_are_merged_if_they_do_not_disagree() {
    let with = |siblings: &str, expect: &str| {
        let text = format!(
            "{V31}paths:\n  /a: {{$ref: '#/components/pathItems/A', {siblings}}}\ncomponents:\n  pathItems:\n    A: {{get: {{responses: {{'200': {{description: d}}}}}}}}\n"
        );
        check_files(&[("openapi.yaml", &text)], expect);
    };
    with("put: {responses: {'200': {description: d}}}", "ok");
    with(
        "get: {responses: {'200': {description: d}}}",
        "error openapi.yaml:4:42 `get` stands here and in what `$ref` refers to",
    );
}

#[test]
fn an_identifier_counts_for_the_reference_beside_it() {
    let defs = "components:\n  schemas:\n    A: {$id: 'https://example.com/s/a', $ref: b, minLength: 1}\n    B: {$id: 'https://example.com/s/b', type: string}\n";
    check(V31, "{$ref: 'https://example.com/s/a'}", defs, "ok");
    check(V31, "{type: integer}", defs, "ok");
    let defs =
        "components:\n  schemas:\n    A: {$id: 'https://example.com/s/a', $ref: c, minLength: 1}\n";
    check(
        V31,
        "{type: integer}",
        defs,
        "`https://example.com/s/c` is not fetched",
    );
}

#[test]
fn identifiers_and_anchors() {
    let defs = "components:\n  schemas:\n    A:\n      $id: https://example.com/schemas/a\n      $anchor: top\n      type: object\n      properties: {b: {$ref: b}, i: {$ref: '#inner'}}\n      $defs: {I: {$anchor: inner, type: string}}\n    B: {$id: 'https://example.com/schemas/b', type: string}\n    C: {$anchor: plain, type: string}\n";
    check(V31, "{$ref: 'https://example.com/schemas/a'}", defs, "ok");
    check(
        V31,
        "{$ref: 'https://example.com/schemas/a#inner'}",
        defs,
        "ok",
    );
    check(
        V31,
        "{$ref: 'https://example.com/schemas/a#/$defs/I'}",
        defs,
        "ok",
    );
    check(V31, "{$ref: '#plain'}", defs, "ok");
    check(V31, "{$ref: '#inner'}", defs, "there is no anchor `inner`");
    check(
        V31,
        "{$ref: 'https://example.com/schemas/c'}",
        defs,
        "the remote reference `https://example.com/schemas/c` is not fetched",
    );
    check(
        V30,
        "{$ref: 'https://example.com/schemas/a'}",
        "",
        "the remote reference",
    );
}

#[test]
fn references_in_examples_are_not_followed() {
    check(
        V31,
        "{type: object, example: {$ref: 'https://example.com'}, default: {$ref: nowhere}}",
        "",
        "ok",
    );
}

#[test]
fn references_that_nothing_uses_are_warned_about() {
    let with = |rest: &str, expect: &str| check(V30, "{type: string}", rest, expect);
    with(
        "components:\n  schemas: {A: {$ref: '#/components/schemas/B'}, B: {type: string}}\n",
        "ok",
    );
    with(
        "components:\n  schemas: {A: {$ref: '#/components/schemas/C'}, B: {type: string}}\n",
        "warning openapi.yaml:9:23 `#/components/schemas/C` leads nowhere",
    );
    with(
        "components:\n  schemas: {A: {type: array, items: {$ref: 'https://a/b'}}}\n",
        "warning openapi.yaml:9:44 the remote reference",
    );
    with(
        "components:\n  schemas: {A: {type: object, example: {$ref: 'https://a/b'}}}\n",
        "ok",
    );
    with(
        "components:\n  schemas: {A: {type: object, properties: {example: {$ref: 'no.yaml'}}}}\n",
        "warning openapi.yaml:9:60 cannot read `no.yaml`",
    );
    with(
        "components:\n  examples: {A: {value: {$ref: 'no.yaml'}}}\n",
        "ok",
    );
}

#[test]
fn a_reference_that_is_used_is_reported_once() {
    check(
        V30,
        "{$ref: '#/components/schemas/A'}",
        "components:\n  schemas: {A: {$ref: 'https://a/b'}}\n",
        "error openapi.yaml:9:23 the remote reference",
    );
}

#[test]
fn too_many_files_are_refused() {
    let many: Vec<(String, String)> = (0..1_100)
        .map(|n| {
            (
                format!("f{n}.yaml"),
                format!(
                    "{{type: object, properties: {{n: {{$ref: f{}.yaml}}}}}}",
                    n + 1
                ),
            )
        })
        .collect();
    let root = with_schema(V30, "{$ref: f0.yaml}", "");
    let mut files = vec![("openapi.yaml", root.as_str())];
    files.extend(
        many.iter()
            .map(|(name, text)| (name.as_str(), text.as_str())),
    );
    check_files(&files, "a description may have at most 1000 files");
}

#[test]
fn the_disk_gives_files_and_nothing_else() {
    let directory = std::env::temp_dir().join(format!("fortress-spec-{}", std::process::id()));
    std::fs::create_dir_all(directory.join("sub")).expect("a directory");
    let root = directory.join("openapi.yaml");
    std::fs::write(&root, with_schema(V30, "{$ref: 'sub/a.yaml'}", "")).expect("a file");
    let mut sources = Sources::default();
    let loaded = load(&root, &Disk, &mut sources);
    assert!(loaded.description.is_none(), "the file is missing");
    std::fs::write(directory.join("sub/a.yaml"), "{type: string}").expect("a file");
    let loaded = load(&root, &Disk, &mut Sources::default());
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    let loaded = load(&directory, &Disk, &mut sources);
    let message = &loaded.diagnostics[0].message;
    assert!(message.contains("not a regular file"), "{message}");
    std::fs::remove_dir_all(&directory).expect("cleaning up");
}
