//! The command line. `chat` is the command if none is named.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use nano_reasoning::config::{LearningStrategy, Overrides};
use nano_reasoning::tier::Tier;
use nano_reasoning::{DrafterChoice, GenerationConfig, Sampling, Speculation};
use nano_reasoning_kernels::Kernels;

use crate::benchmark::plot::svg_path;
use crate::failure::Usage;

/// Run a language model on this machine
///
/// Without a command it chats. The model is picked for the machine and downloaded when it is first needed.
#[derive(Parser)]
#[command(name = "nano-reasoning", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  nano-reasoning                                       chat with the model that fits this machine
  nano-reasoning generate \"Name three primes\"          answer one prompt
  nano-reasoning generate \"Review this\" --file main.c  a prompt and a file
  nano-reasoning --model ./my.gguf chat                a model of your own

Environment: NANO_REASONING_CACHE, NANO_REASONING_CHECKPOINTS, NANO_REASONING_CONFIG,
NANO_REASONING_LOG_LEVEL (off, error, warn, info, debug, trace), NANO_REASONING_DEBUG (0, 1),
NANO_REASONING_STRATEGY (frozen, lora, eagle)";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Chat with the model; the default
    Chat(ChatArgs),
    /// Answer one prompt on standard output
    Generate(GenerateArgs),
    /// Show the machine, the model picked for it, and every setting with its source
    Info(InfoArgs),
    /// Measure how fast this machine runs the model
    Benchmark(BenchmarkArgs),
    /// Download a model, or check the one that is here
    Pull(PullArgs),
    /// List the models, or remove one
    Models(ModelsArgs),
    /// Show or forget the answers that drafts are made from
    History(HistoryArgs),
    /// List, show or move what drafters learnt
    Checkpoints(CheckpointsArgs),
    /// Look at the model's drafting head, or write it for other programs
    Head(HeadArgs),
    /// Make a drafting head for the model, from its own answers
    Distill(DistillArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

impl Default for Command {
    fn default() -> Self {
        Self::Chat(ChatArgs::default())
    }
}

#[derive(Args)]
pub(crate) struct GlobalArgs {
    /// Model: a name that `models` lists, a .gguf file, or a Hub id (owner/name)
    #[arg(long, global = true, value_name = "MODEL", help_heading = "Machine and model")]
    model: Option<String>,
    /// Threads that compute [default: one for each performance core]
    #[arg(long, global = true, value_name = "N", value_parser = count, help_heading = "Machine and model")]
    threads: Option<usize>,
    /// Instruction set [default: the best there is]
    #[arg(long, global = true, value_name = "NAME", value_parser = isas(), help_heading = "Machine and model")]
    isa: Option<String>,
    /// Tokens of context [default: 8192, or what the model was made for if that is less]
    #[arg(long, global = true, value_name = "TOKENS", value_parser = count, help_heading = "Machine and model")]
    pub(crate) context: Option<usize>,
    /// Take this tier's models, whatever the machine
    #[arg(
        long, global = true, value_name = "TIER", ignore_case = true, value_parser = tiers(),
        help_heading = "Machine and model"
    )]
    force_tier: Option<Tier>,
    /// Configuration file [default: ~/.config/nano-reasoning/config.json]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Machine and model")]
    config: Option<PathBuf>,
    /// Log what happens, to standard error
    #[arg(short = 'v', long = "verbose", global = true, help_heading = "Machine and model")]
    pub(crate) is_verbose: bool,
    #[command(flatten)]
    learning: LearningArgs,
}

/// Values of the configuration file that are seldom given as flags.
#[derive(Args)]
struct LearningArgs {
    /// Who drafts: nobody, what was written before, a small model, a head, or whatever pays [default: auto]
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        value_parser = drafters(),
        help_heading = "Speculation and learning"
    )]
    drafter: Option<DrafterChoice>,
    /// EAGLE-3 head, a GGUF file or a folder of safetensors [default: the one that ships for the model]
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        hide_short_help = true,
        help_heading = "Speculation and learning"
    )]
    head: Option<PathBuf>,
    /// Draft over the head's so many most frequent tokens, beside those of the context [default: 8192]
    #[arg(
        long,
        global = true,
        value_name = "N",
        value_parser = count,
        hide_short_help = true,
        help_heading = "Speculation and learning"
    )]
    core_vocab: Option<usize>,
    /// Draft over those alone: to compare with drafters that have a fixed vocabulary
    #[arg(
        long = "fixed-vocab",
        global = true,
        hide_short_help = true,
        help_heading = "Speculation and learning"
    )]
    is_vocab_fixed: bool,
    /// Alternatives a draft may hold for one token; 1 for none [default: 2]
    #[arg(
        long,
        global = true,
        value_name = "WIDTH",
        value_parser = count,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "4",
        hide_short_help = true,
        help_heading = "Speculation and learning"
    )]
    tree: Option<usize>,
    /// Keep what is learnt, and find it again, under this name [default: what guesses best]
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        hide_short_help = true,
        help_heading = "Speculation and learning"
    )]
    profile: Option<String>,
    /// Neither keep answers for later drafts nor draft from earlier ones
    #[arg(long = "no-history", global = true, help_heading = "Speculation and learning")]
    is_history_off: bool,
    /// Draft as far as --draft-count allows, whatever it costs: to measure drafters
    #[arg(
        long = "fixed-draft",
        global = true,
        hide_short_help = true,
        help_heading = "Speculation and learning"
    )]
    is_draft_fixed: bool,
    /// Draft model, named as --model is; one that is named drafts beside a head, too
    #[arg(
        long,
        global = true,
        value_name = "MODEL",
        hide_short_help = true,
        help_heading = "Speculation and learning"
    )]
    drafter_model: Option<String>,
    /// Longest draft in tokens; 0 turns speculation off [default: 16]
    #[arg(
        long,
        global = true,
        value_name = "N",
        hide_short_help = true,
        allow_negative_numbers = true,
        help_heading = "Speculation and learning"
    )]
    draft_count: Option<u32>,
    /// Whether the drafter learns while it runs
    #[arg(
        long, global = true, value_name = "BOOL", hide_short_help = true, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", help_heading = "Speculation and learning"
    )]
    training: Option<bool>,
    /// What of the drafter learns by gradients; calibration, vocabulary and history learn anyway [default: the tier's]
    #[arg(
        long, global = true, value_name = "NAME", ignore_case = true, value_parser = strategies(),
        help_heading = "Speculation and learning"
    )]
    strategy: Option<LearningStrategy>,
    /// Step size of learning [default: what suits the drafter; info shows it]
    #[arg(
        long,
        global = true,
        value_name = "RATE",
        hide_short_help = true,
        allow_negative_numbers = true,
        help_heading = "Speculation and learning"
    )]
    learning_rate: Option<f64>,
    /// Rejections learnt from in one step
    #[arg(
        long,
        global = true,
        value_name = "N",
        hide_short_help = true,
        allow_negative_numbers = true,
        help_heading = "Speculation and learning"
    )]
    batch_size: Option<u32>,
    /// Rejections kept to learn from
    #[arg(
        long,
        global = true,
        value_name = "N",
        hide_short_help = true,
        allow_negative_numbers = true,
        help_heading = "Speculation and learning"
    )]
    buffer_capacity: Option<u32>,
    /// Share of the machine that all programs together may take while training goes on
    #[arg(
        long,
        global = true,
        value_name = "SHARE",
        hide_short_help = true,
        allow_negative_numbers = true,
        help_heading = "Speculation and learning"
    )]
    gpu_utilization: Option<f64>,
    /// Whether a neural accelerator is used, by engines that can; this one computes on the CPU
    #[arg(
        long, global = true, value_name = "BOOL", hide_short_help = true, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", help_heading = "Speculation and learning"
    )]
    npu: Option<bool>,
}

#[derive(Args, Default)]
pub(crate) struct ChatArgs {
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
}

#[derive(Args)]
pub(crate) struct GenerateArgs {
    /// The prompt; without one, or as '-', it is read from standard input
    pub(crate) prompt: Vec<String>,
    /// File to add to the prompt; '-' for standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
}

/// How answers are made.
#[derive(Args, Default)]
pub(crate) struct AnswerArgs {
    /// Longest answer, in tokens [default: 512 for generate, 2048 for chat]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) max_tokens: Option<u32>,
    /// 0 for always the likeliest token; more for more variety [default: 0.7]
    #[arg(short, long, value_name = "T", allow_negative_numbers = true)]
    temperature: Option<f64>,
    /// Draw from the likeliest tokens that make up this probability [default: 0.9]
    #[arg(long, value_name = "P", value_parser = fraction, allow_negative_numbers = true)]
    top_p: Option<f32>,
    /// Draw from this many likeliest tokens; 0 for all [default: 40]
    #[arg(long, value_name = "K", allow_negative_numbers = true)]
    top_k: Option<usize>,
    /// Leave out tokens less likely than this share of the likeliest [default: 0]
    #[arg(long, value_name = "P", value_parser = fraction, allow_negative_numbers = true)]
    min_p: Option<f32>,
    /// Make tokens that came lately less likely; 1 for not [default: 1]
    #[arg(long, value_name = "X", value_parser = penalty, allow_negative_numbers = true)]
    repeat_penalty: Option<f32>,
    /// The same seed draws the same answer
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Text that ends the answer; may be given more than once
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Id of a token that ends the answer; may be given more than once
    #[arg(long, value_name = "ID", allow_negative_numbers = true)]
    stop_token: Vec<u32>,
    /// How the model shall behave
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    /// Do not speculate
    #[arg(long = "no-speculation")]
    no_speculation: bool,
    /// Show tokens and times, on standard error
    #[arg(long = "stats")]
    pub(crate) shows_stats: bool,
}

#[derive(Args)]
pub(crate) struct InfoArgs {
    /// Print JSON
    #[arg(long = "json")]
    pub(crate) is_json: bool,
}

#[derive(Args)]
pub(crate) struct BenchmarkArgs {
    /// How often everything is measured [default: 10, or 1 with --prompts]
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) iterations: Option<usize>,
    /// Answer prompts with and without speculation, in turns
    #[arg(long = "compare", conflicts_with = "is_verify_cost")]
    pub(crate) compares: bool,
    /// Write JSON to a file; without one to standard output, instead of the table
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    pub(crate) json: Option<PathBuf>,
    /// Measure what passes over 1 to 16 tokens cost, with --context tokens in the cache
    #[arg(long = "verify-cost", conflicts_with = "prompts")]
    pub(crate) is_verify_cost: bool,
    /// Prompts to answer greedily: lines of JSON with id, task and turns
    #[arg(long, value_name = "FILE")]
    pub(crate) prompts: Option<PathBuf>,
    /// Learn from the answers to --prompts, and measure what that brings on those to --held-out
    #[arg(long = "adapt", requires = "prompts", requires = "held_out", conflicts_with = "compares")]
    pub(crate) adapts: bool,
    /// Prompts of the same kind that are not learnt from
    #[arg(long, value_name = "FILE", requires = "adapts")]
    pub(crate) held_out: Option<PathBuf>,
    /// Draw how drafting went over the answers to --prompts: learning, not learning, and by n-grams alone
    #[arg(long, value_name = "FILE.svg", requires = "adapts", value_parser = svg_path)]
    pub(crate) plot: Option<PathBuf>,
    /// Longest answer, in tokens [default: 64, or 256 with --prompts]
    #[arg(short, long, value_name = "N", value_parser = count)]
    pub(crate) max_tokens: Option<usize>,
    /// Keep the answers, and draft from earlier ones, as chat and generate do
    #[arg(long = "with-history", requires = "prompts")]
    pub(crate) uses_history: bool,
    /// Temperature of the answers to prompts, with a fixed seed [default: 0]
    #[arg(short, long, value_name = "T", allow_negative_numbers = true)]
    pub(crate) temperature: Option<f64>,
}

#[derive(Args)]
pub(crate) struct PullArgs {
    /// A name that `models` lists, or a Hub id (owner/name, owner/name/file.gguf)
    pub(crate) model: String,
}

#[derive(Args)]
pub(crate) struct ModelsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<ModelsCommand>,
}

#[derive(Subcommand)]
pub(crate) enum ModelsCommand {
    /// List the models; the default
    List {
        /// Print JSON
        #[arg(long = "json")]
        is_json: bool,
    },
    /// Remove a downloaded model
    Rm {
        /// Its name
        model: String,
    },
}

#[derive(Args)]
pub(crate) struct HistoryArgs {
    #[command(subcommand)]
    pub(crate) command: Option<HistoryCommand>,
}

#[derive(Subcommand)]
pub(crate) enum HistoryCommand {
    /// Show how much is kept, and where; the default
    Show {
        /// Print JSON
        #[arg(long = "json")]
        is_json: bool,
    },
    /// Forget all of it
    Clear,
}

#[derive(Args)]
pub(crate) struct CheckpointsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<CheckpointsCommand>,
}

#[derive(Subcommand)]
pub(crate) enum CheckpointsCommand {
    /// List what there is of all profiles and models; the default
    List {
        /// Print JSON
        #[arg(long = "json")]
        is_json: bool,
    },
    /// Show what the latest checkpoint of --profile and --model is, as JSON
    Show,
    /// Copy the latest checkpoint of --profile and --model to a file
    Export {
        /// The file
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Take a file as the latest checkpoint of --profile and --model
    Import {
        /// The file
        #[arg(value_name = "FILE")]
        from: PathBuf,
    },
    /// Remove all checkpoints of --profile and --model
    Rm,
}

#[derive(Args)]
pub(crate) struct HeadArgs {
    #[command(subcommand)]
    pub(crate) command: HeadCommand,
}

#[derive(Subcommand)]
pub(crate) enum HeadCommand {
    /// Say what the head is, and check that it fits the model
    Info {
        /// Print JSON
        #[arg(long = "json")]
        is_json: bool,
    },
    /// Write it for vLLM and SGLang, a folder, or for llama.cpp, a .gguf file
    Export {
        /// Where to; nothing may be there yet
        #[arg(long, value_name = "FOLDER|FILE.gguf")]
        to: PathBuf,
    },
}

#[derive(Args)]
pub(crate) struct DistillArgs {
    /// Folder for answers, the state of training and the head; what is there is gone on from
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,
    /// Prompts for the model to answer: lines of JSON with id, task and turns
    #[arg(long, value_name = "FILE")]
    pub(crate) prompts: Option<PathBuf>,
    /// Let the model write so many prompts itself, and answer them
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) self_prompted: Option<usize>,
    /// Longest answer, in tokens
    #[arg(short, long, value_name = "N", value_parser = count, default_value = "256")]
    pub(crate) max_tokens: usize,
    /// Collect answers, and train later
    #[arg(long = "collect-only")]
    pub(crate) is_collecting_only: bool,
    /// Make a new head even if the model has one
    #[arg(long = "from-scratch")]
    pub(crate) is_from_scratch: bool,
    /// How often each answer is learnt from
    #[arg(long, value_name = "N", value_parser = count, default_value = "10", conflicts_with = "steps")]
    pub(crate) passes: usize,
    /// Steps of the training, instead of passes
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) steps: Option<usize>,
    /// How many tokens ahead drafts are learnt
    #[arg(long, value_name = "N", value_parser = draft_len, default_value = "3")]
    pub(crate) draft_len: usize,
    /// The same seed makes the same head of the same answers
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) seed: u64,
}

#[derive(Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

impl Cli {
    /// The arguments of this process.
    ///
    /// # Errors
    /// clap's, for arguments that are none; help is such an error, too.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        Self::of(std::env::args_os().collect())
    }

    fn of(mut arguments: Vec<OsString>) -> Result<Self, clap::Error> {
        match Self::try_parse_from(&arguments) {
            // `nano-reasoning -t 0` is `nano-reasoning chat -t 0`.
            Err(error) if error.kind() == ErrorKind::UnknownArgument && !names_command(&arguments) => {
                arguments.insert(1, "chat".into());
                Self::try_parse_from(&arguments)
            }
            parsed => parsed,
        }
    }
}

fn names_command(arguments: &[OsString]) -> bool {
    let command = <Cli as clap::CommandFactory>::command();
    arguments.iter().skip(1).any(|argument| command.find_subcommand(argument).is_some())
}

impl GlobalArgs {
    /// What the library shall do, with `answer` for how answers are made.
    ///
    /// # Errors
    /// [`Usage`] for a value out of range.
    pub(crate) fn config(&self, answer: &AnswerArgs) -> Result<GenerationConfig, Usage> {
        let learning = &self.learning;
        let overrides = Overrides {
            force_tier: self.force_tier,
            gpu_utilization_target: learning.gpu_utilization,
            enable_npu_offload: learning.npu,
            target_model_id: self.model.clone(),
            drafter_model_id: learning.drafter_model.clone(),
            max_tokens: answer.max_tokens,
            temperature: answer.temperature,
            draft_count: if answer.no_speculation { Some(0) } else { learning.draft_count },
            is_training_enabled: learning.training,
            strategy: learning.strategy,
            learning_rate: learning.learning_rate,
            batch_size: learning.batch_size,
            buffer_capacity: learning.buffer_capacity,
        };
        overrides.check().map_err(|error| Usage(error.to_string()))?;
        let sampling = Sampling {
            temperature: None,
            top_k: answer.top_k,
            top_p: answer.top_p,
            min_p: answer.min_p,
            repetition_penalty: answer.repeat_penalty,
            seed: answer.seed,
            stop: answer.stop.clone(),
            stop_tokens: answer.stop_token.clone(),
        };
        Ok(GenerationConfig {
            overrides,
            sampling,
            speculation: Speculation {
                drafter: learning.drafter.unwrap_or_default(),
                head: learning.head.clone(),
                core_vocab: learning.core_vocab,
                is_vocab_fixed: learning.is_vocab_fixed,
                max_width: learning.tree,
                is_history_off: learning.is_history_off,
                memory_dir: None,
                profile: learning.profile.clone(),
                is_fixed: learning.is_draft_fixed,
            },
            context_len: self.context,
            n_threads: self.threads,
            isa: self.isa.clone(),
            cache_dir: None,
            config_path: self.config.clone(),
        })
    }
}

impl AnswerArgs {
    /// The same answers each time: for measuring.
    pub(crate) fn measured(temperature: Option<f64>) -> Self {
        Self { temperature: Some(temperature.unwrap_or(0.0)), seed: Some(1), ..Self::default() }
    }
}

fn drafters() -> impl TypedValueParser<Value = DrafterChoice> {
    PossibleValuesParser::new(DrafterChoice::ALL.map(DrafterChoice::name))
        .try_map(|name| name.parse::<DrafterChoice>())
}

fn strategies() -> impl TypedValueParser<Value = LearningStrategy> {
    PossibleValuesParser::new(LearningStrategy::ALL.map(LearningStrategy::name))
        .try_map(|name| name.parse::<LearningStrategy>())
}

fn tiers() -> impl TypedValueParser<Value = Tier> {
    PossibleValuesParser::new(Tier::ALL.map(Tier::name)).try_map(|name| name.parse::<Tier>())
}

fn isas() -> impl TypedValueParser<Value = String> {
    PossibleValuesParser::new(Kernels::available().iter().map(|kernels| kernels.isa().name()))
}

fn count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| "wanted a whole number from 1".to_owned())
}

fn draft_len(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|n| (1..=16).contains(n))
        .ok_or_else(|| "wanted a whole number from 1 to 16".to_owned())
}

fn fraction(text: &str) -> Result<f32, String> {
    let value = text.parse().ok().filter(|value| (0.0..=1.0).contains(value));
    value.ok_or_else(|| "wanted a number from 0 to 1".to_owned())
}

fn penalty(text: &str) -> Result<f32, String> {
    let value = text.parse().ok().filter(|value| (0.01..=100.0).contains(value));
    value.ok_or_else(|| "wanted a number from 0.01 to 100".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::of(line.split(' ').map(OsString::from).collect())
    }

    #[test]
    fn clap_finds_no_fault() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn chat_is_the_command_if_none_is_named() {
        for line in ["n", "n --model x", "n -t 0", "n --model x -t 0 --stats", "n --stats --threads 2"] {
            let cli = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert!(matches!(cli.command.unwrap_or_default(), Command::Chat(_)), "{line}");
        }
        let Some(Command::Chat(chat)) = parse("n --model x --temperature 0").unwrap().command else {
            panic!("no chat")
        };
        assert_eq!(chat.answer.temperature, Some(0.0));
    }

    #[test]
    fn a_misspelt_command_is_not_a_chat() {
        let kind = |line| parse(line).err().map(|error| error.kind());
        assert_eq!(kind("n genrate"), Some(ErrorKind::InvalidSubcommand));
        assert_eq!(kind("n info --stats"), Some(ErrorKind::UnknownArgument));
    }

    #[test]
    fn flags_reach_the_overrides() {
        let cli = parse("n generate hi --model x --no-speculation -t 0.5 -m 7 --npu").unwrap();
        let Some(Command::Generate(generate)) = cli.command else { panic!("no generate") };
        let config = cli.global.config(&generate.answer).unwrap();
        let expected = Overrides {
            target_model_id: Some("x".into()),
            draft_count: Some(0),
            temperature: Some(0.5),
            max_tokens: Some(7),
            enable_npu_offload: Some(true),
            ..Overrides::default()
        };
        assert_eq!(config.overrides, expected);
        let cli = parse("n generate hi -t 7").unwrap();
        let Some(Command::Generate(generate)) = cli.command else { panic!("no generate") };
        let error = cli.global.config(&generate.answer).unwrap_err();
        assert_eq!(error.to_string(), "--temperature is 7; wanted a number from 0 to 2");
    }
}
