//! A model's chat template: Jinja, run as Hugging Face runs it, with a bound on what it may cost.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, context};

use crate::error::printable;
use crate::template_functions::{self, RAISED};
use crate::{Error, Message, Result, Tokenizer};

/// The format most models without a template were trained on.
const CHATML: &str = "\
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}";

/// Longest template accepted; the longest real ones have some 30 kB.
const MAX_SOURCE_BYTES: usize = 256 << 10;
/// Steps a template may take beside those for its messages; real ones take a few hundred.
const BASE_FUEL: u64 = 100_000;
/// Steps for each message; real templates take 50 to 100.
const FUEL_PER_MESSAGE: u64 = 500;
/// Bytes of messages for one more step: 64 bytes copied are one, and templates copy each a few times.
const BYTES_PER_FUEL: u64 = 4;
/// How deep a template may nest calls.
const RECURSION_LIMIT: usize = 64;
// The template engine recurses over expressions and values without a limit of its own (3.1): `1+1+1…` nests
// once every two bytes, `x = [x]` once every four steps. So it runs on a stack that holds as many levels as
// the bytes and steps allow. Measured without optimisation: 3.2 kB a level to compile, 2.4 kB to print.
const STACK_PER_SOURCE_BYTE: usize = 4 << 10;
const STACK_PER_FUEL: usize = 800;
const BASE_STACK: usize = 2 << 20;
/// Real templates take less than a millisecond.
const DEADLINE: Duration = Duration::from_secs(5);

/// A compiled chat template.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    bos: String,
    eos: String,
    is_fallback: bool,
}

impl ChatTemplate {
    /// The template that came with `tokenizer`; ChatML if none did.
    ///
    /// # Errors
    /// [`Error::Template`] if it cannot be parsed.
    pub fn of(tokenizer: &Tokenizer) -> Result<Self> {
        let text_of = |token: Option<u32>| token.map_or_else(String::new, |token| tokenizer.decode(&[token]));
        let (bos, eos) = (text_of(tokenizer.bos()), text_of(tokenizer.eos()));
        match tokenizer.chat_template_source() {
            Some(source) => Self::new(source, &bos, &eos),
            None => Ok(Self { is_fallback: true, ..Self::new(CHATML, &bos, &eos)? }),
        }
    }

    /// Compiles `source`; `bos` and `eos` are the texts of those tokens.
    ///
    /// # Errors
    /// [`Error::Template`] if it cannot be parsed, [`Error::TemplateTooLarge`].
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self> {
        if source.len() > MAX_SOURCE_BYTES {
            return Err(Error::TemplateTooLarge { found: source.len(), limit: MAX_SOURCE_BYTES });
        }
        let mut environment = Environment::new();
        // As `transformers` sets it up (`chat_template_utils.py`).
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| template_error(&error))?);
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment.set_recursion_limit(RECURSION_LIMIT);
        template_functions::install(&mut environment);
        let owned = template_functions::replace_generation_blocks(source).into_owned();
        let environment = on_stack(BASE_STACK + source.len() * STACK_PER_SOURCE_BYTE, move || {
            environment.add_template_owned("chat_template", owned).map(|()| environment)
        })?
        .map_err(|error| template_error(&error))?;
        Ok(Self {
            environment,
            source: source.to_string(),
            bos: bos.to_string(),
            eos: eos.to_string(),
            is_fallback: false,
        })
    }

    /// The template's text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether this is ChatML because the model has no template of its own.
    pub fn is_fallback(&self) -> bool {
        self.is_fallback
    }

    /// Gives the template a variable beside its own, such as `enable_thinking`.
    pub fn set_variable(&mut self, name: &str, value: impl Into<serde_json::Value>) {
        self.environment.add_global(name.to_string(), Serde(value.into()));
    }

    /// The conversation as text, markers and all; for tokens see [`Tokenizer::encode_chat`].
    ///
    /// # Errors
    /// [`Error::TemplateRefused`] if the template does not like the messages (such as two of the same role
    /// in a row), [`Error::Template`] for a fault in it, [`Error::TemplateTooExpensive`] if it does not end,
    /// [`Error::TemplateTooSlow`], [`Error::NoThread`].
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let content_bytes = messages.iter().map(|message| message.role.len() + message.content.len()).sum();
        let limit =
            BASE_FUEL + FUEL_PER_MESSAGE * messages.len() as u64 + content_bytes as u64 / BYTES_PER_FUEL;
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(limit));
        let variables = context! {
            messages => Serde(messages),
            add_generation_prompt => add_generation_prompt,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
            tools => (),
            documents => (),
        };
        on_stack(BASE_STACK + limit as usize * STACK_PER_FUEL, move || {
            environment.get_template("chat_template")?.render(variables)
        })?
        .map_err(|error| classify(error, limit, messages.len(), content_bytes))
    }
}

/// Runs `f` on a thread of its own with a stack of that many bytes; those it does not use cost nothing.
///
/// Fuel does not see all work (comparing nested lists, walking repeated ones), so there is a deadline too.
/// A thread that misses it is left behind, since a thread cannot be stopped from outside.
fn on_stack<T: Send + 'static>(stack_bytes: usize, f: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let (sender, receiver) = mpsc::channel();
    let builder = thread::Builder::new().name("chat-template".to_string()).stack_size(stack_bytes);
    builder
        .spawn(move || {
            // The receiver is gone only if the deadline has passed.
            let _ = sender.send(f());
        })
        .map_err(Error::NoThread)?;
    receiver.recv_timeout(DEADLINE).map_err(|error| match error {
        RecvTimeoutError::Timeout => Error::TemplateTooSlow { seconds: DEADLINE.as_secs() },
        RecvTimeoutError::Disconnected => Error::TemplateCrashed,
    })
}

/// Finds the reason behind an error that may be wrapped in others.
fn classify(error: minijinja::Error, limit: u64, messages: usize, content_bytes: usize) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        if let Some(inner) = current.downcast_ref::<minijinja::Error>() {
            if inner.kind() == ErrorKind::OutOfFuel {
                return Error::TemplateTooExpensive { limit, messages, content_bytes };
            }
            if let Some(reason) = inner.detail().and_then(|detail| detail.strip_prefix(RAISED)) {
                return Error::TemplateRefused { reason: printable(reason) };
            }
        }
        cause = current.source();
    }
    template_error(&error)
}

fn template_error(error: &minijinja::Error) -> Error {
    let kind = error.kind().to_string();
    let reason = match error.detail() {
        Some(detail) => format!("{kind}: {detail}"),
        None => kind,
    };
    Error::Template { line: error.line().unwrap_or(0), reason: printable(&reason) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn render(source: &str, messages: &[Message]) -> Result<String> {
        ChatTemplate::new(source, "<s>", "</s>")?.render(messages, true)
    }

    fn hello() -> Vec<Message> {
        vec![Message::system("Be brief."), Message::user("Hello"), Message::assistant("Hi <b>")]
    }

    #[test]
    fn chatml_is_the_fallback_format() {
        let text = render(CHATML, &hello()).unwrap();
        assert_eq!(
            text,
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n\
             <|im_start|>assistant\nHi <b><|im_end|>\n<|im_start|>assistant\n"
        );
        let closed = ChatTemplate::new(CHATML, "", "").unwrap().render(&hello(), false).unwrap();
        assert!(closed.ends_with("Hi <b><|im_end|>\n"));
    }

    #[test]
    fn blocks_are_trimmed_as_transformers_does() {
        let source =
            "{% for m in messages %}\n    {% if true %}\n{{ m.role }}\n    {% endif %}\n{% endfor %}\n";
        assert_eq!(render(source, &hello()).unwrap(), "system\nuser\nassistant\n");
    }

    #[test]
    fn python_idioms_of_templates_work() {
        let source = "{{ bos_token }}{% set ns = namespace(found=false) %}\
            {% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% endif %}\
            {% for m in rest[::-1] %}{% if loop.last %}{% break %}{% endif %}{% set ns.found = true %}\
            {{ m['content'].strip().split(' ')[-1].upper() }}{% endfor %}{{ ns.found }}\
            {{ messages[2].content.startswith('Hi') }}{% if tools is none %}-{% endif %}\
            {{ missing.x is defined }}{% if not messages[0].tool_calls %}!{% endif %}{{ eos_token }}";
        let source = source.replace("{{ missing.x is defined }}", "{{ missing is defined }}");
        assert_eq!(render(&source, &hello()).unwrap(), "<s><B>TrueTrue-False!</s>");
    }

    #[test]
    fn variables_reach_the_template() {
        let mut template = ChatTemplate::new("{{ enable_thinking is false }}", "", "").unwrap();
        assert_eq!(template.render(&[], true).unwrap(), "False");
        template.set_variable("enable_thinking", false);
        assert_eq!(template.render(&[], true).unwrap(), "True");
    }

    #[test]
    fn a_refusal_keeps_the_templates_words() {
        let source =
            "{% if messages[0].role == 'system' %}{{ raise_exception('No system role') }}{% endif %}";
        assert!(
            matches!(render(source, &hello()), Err(Error::TemplateRefused { reason }) if reason == "No system role")
        );
    }

    #[test]
    fn faults_are_named_with_their_line() {
        let message = render("a\n{% nonsense %}", &[]).unwrap_err().to_string();
        assert!(
            message.starts_with("the model's chat template failed in line 2: syntax error: "),
            "{message}"
        );
        let message = render("{{ messages.x.y.z }}", &[]).unwrap_err().to_string();
        assert!(message.contains("undefined"), "{message}");
    }

    #[test]
    fn hostile_templates_end() {
        let long = vec![Message::user("x".repeat(10_000))];
        for source in [
            "{% for a in range(100000) %}{% for b in range(100000) %}{% for c in range(100000) %}x{% endfor %}{% endfor %}{% endfor %}",
            "{% set ns = namespace(x='xxxxxxxxxxxxxxxx') %}{% for a in range(100) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
            "{{ 'x' * 99999999 }}",
            "{{ ('x' * 1000) * 1000 }}{{ ('x' * 1000) * 1000 }}",
            "{% macro f(x) %}{{ f(x ~ x) }}{% endmacro %}{{ f(messages[0].content) }}",
            "{% set ns = namespace(x=messages) %}{% for a in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x|tojson }}",
            "{% set ns = namespace(x=messages[0].content) %}{% for a in range(60) %}{% set ns.x = ns.x.replace('x', 'xx') %}{% endfor %}",
            "{% set ns = namespace(x=[]) %}{% for a in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
            "{{ messages[0].content.join(range(100000)) }}",
            &format!("{{{{ 1{} }}}}", "+1".repeat(120_000)),
            &format!("{{{{ {}1 }}}}", "-".repeat(250_000)),
            &format!("{{{{ {}1 }}}}", "(".repeat(250_000)),
            &format!("{{{{ x{} }}}}", "()".repeat(120_000)),
            &format!(
                "{{% set x = [] %}}{}{{{{ x }}}}{{{{ x|tojson }}}}{{{{ x == x }}}}",
                "{%set x=[x]%}".repeat(19_000)
            ),
            &"x".repeat(1_000_000),
        ] {
            match render(source, &long) {
                Ok(text) => assert!(text.len() < 4_000_000, "{source:.100}"),
                Err(
                    Error::TemplateTooExpensive { .. }
                    | Error::TemplateTooLarge { .. }
                    | Error::Template { .. },
                ) => {}
                Err(error) => panic!("{source:.100}: {error}"),
            }
        }
    }

    #[test]
    fn long_messages_are_no_fault() {
        let long = vec![Message::user("x".repeat(3_000_000))];
        let source = "{% for m in messages %}{% set c = '[' + m.content.strip() | trim + ']' %}{{ m.role + c + '\\n' }}{% endfor %}";
        assert_eq!(render(source, &long).unwrap().len(), 3_000_007);
    }

    /// Fragments of templates, put together at random.
    const FRAGMENTS: &[&str] = &[
        "{{ ",
        " }}",
        "{% ",
        " %}",
        "{%- ",
        " -%}",
        "{# ",
        " #}",
        "if ",
        "else",
        "endif",
        "for m in messages",
        "endfor",
        "set x = ",
        "messages",
        "m.content",
        "m['role']",
        "[0]",
        "[::-1]",
        "[1:]",
        "loop.last",
        "loop.previtem",
        "x",
        " + ",
        " ~ ",
        "'<|im_start|>'",
        "\"\\n\"",
        "|trim",
        "|tojson",
        "|length",
        ".strip()",
        ".split('e')",
        ".items()",
        "namespace(a=1)",
        "x.a",
        "raise_exception('no')",
        "strftime_now('%Y')",
        "range(9)",
        "is defined",
        " not ",
        " and ",
        "(",
        ")",
        "{",
        "}",
        "*",
        "-",
        "9",
        "macro f(x)",
        "endmacro",
        "f(x)",
        "break",
        "add_generation_prompt",
        "bos_token",
        "\n",
        "é",
        "text ",
    ];

    proptest! {
        #[test]
        fn any_template_renders_or_is_refused_on_one_line(
            picks in prop::collection::vec(0..FRAGMENTS.len(), 0..24),
            content in any::<String>(),
        ) {
            let source: String = picks.iter().map(|&pick| FRAGMENTS[pick]).collect();
            if let Err(error) = render(&source, &[Message::user(content)]) {
                prop_assert!(!error.to_string().contains(char::is_control), "{error}");
            }
        }
    }
}
