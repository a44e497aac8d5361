//! First words of what a user may say, of several kinds: the model itself writes on from there.

/// A kind of request, and ways to begin it.
const OPENERS: [(&str, &[&str]); 8] = [
    (
        "code",
        &[
            "Write a Python function that",
            "Write a SQL query that",
            "Here is a function in JavaScript:",
            "Why does this code raise an error?",
            "Write a shell command to",
            "Add tests for a class that",
        ],
    ),
    (
        "explain",
        &[
            "Explain how",
            "What is the difference between",
            "Why do",
            "How does",
            "What happens when",
            "What is",
        ],
    ),
    (
        "maths",
        &[
            "A train leaves",
            "Solve the equation",
            "A shop sells",
            "What is the probability that",
            "Calculate the",
            "If a rectangle has",
        ],
    ),
    (
        "write",
        &[
            "Write a short story about",
            "Write an email to my",
            "Write a poem about",
            "Write a product description for",
            "Continue this story: One morning",
            "Write a letter that",
        ],
    ),
    (
        "rewrite",
        &[
            "Summarize the following text:",
            "Rewrite this sentence so that it sounds friendlier:",
            "Translate to French:",
            "Correct the grammar:",
            "Shorten this paragraph:",
            "Turn these notes into a table:",
        ],
    ),
    (
        "list",
        &[
            "Give me five ideas for",
            "List the steps to",
            "What should I pack for",
            "Name some books about",
            "Make a weekly plan for",
            "What are the advantages and disadvantages of",
        ],
    ),
    (
        "facts",
        &[
            "Who was",
            "When did",
            "Where can I find",
            "Tell me about the history of",
            "How many",
            "Which country",
        ],
    ),
    (
        "talk",
        &[
            "I feel",
            "My friend and I",
            "Can you help me with",
            "I am planning a trip to",
            "What do you think about",
            "Hello! I would like to",
        ],
    ),
];

/// The kind and the first words of request `number`: kinds in turns.
pub(super) fn opener(number: usize) -> (&'static str, &'static str) {
    let (kind, openers) = OPENERS[number % OPENERS.len()];
    (kind, openers[number / OPENERS.len() % openers.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn all_come_before_one_comes_again() {
        let n = OPENERS.iter().map(|(_, openers)| openers.len()).sum::<usize>();
        assert_eq!((0..n).map(opener).collect::<BTreeSet<_>>().len(), n);
        assert_eq!((0..8).map(|number| opener(number).0).collect::<BTreeSet<_>>().len(), 8);
        assert_eq!(opener(0), opener(n));
    }
}
