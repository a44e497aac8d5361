//! The messages of a chat, as many as the context holds.

use nano_reasoning::{Engine, Message};

/// Messages: perhaps the system's, then the user's and the model's in turn.
pub(super) struct Conversation {
    messages: Vec<Message>,
    /// Messages at the start that always stay.
    n_fixed: usize,
}

impl Conversation {
    pub(super) fn new(system: Option<&str>) -> Self {
        let messages: Vec<Message> = system.map(Message::system).into_iter().collect();
        Self { n_fixed: messages.len(), messages }
    }

    pub(super) fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Adds what the user says.
    pub(super) fn ask(&mut self, text: String) {
        self.messages.push(Message::user(text));
    }

    /// Adds what the model said.
    pub(super) fn answer(&mut self, text: String) {
        self.messages.push(Message::assistant(text));
    }

    /// Removes the last message: it got no answer.
    pub(super) fn take_back(&mut self) {
        if self.messages.len() > self.n_fixed {
            self.messages.pop();
        }
    }

    pub(super) fn clear(&mut self) {
        self.messages.truncate(self.n_fixed);
    }

    /// Forgets the oldest turns until the rest leaves room for an answer, and returns how many went.
    ///
    /// # Errors
    /// If the model's chat template refuses the messages.
    pub(super) fn make_room(&mut self, engine: &Engine, max_tokens: usize) -> nano_reasoning::Result<usize> {
        let context_len = engine.target.shape().context_len;
        self.shorten(context_len, max_tokens, |messages| Ok(engine.encode(messages)?.len()))
    }

    fn shorten<E>(
        &mut self,
        context_len: usize,
        max_tokens: usize,
        count: impl Fn(&[Message]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let n_tokens = count(&self.messages)?;
        if n_tokens + max_tokens.min(context_len / 4) <= context_len {
            return Ok(0);
        }
        // A last message that does not fit alone will be refused, and nothing must be lost for it.
        let last = self.messages.len().saturating_sub(1).max(self.n_fixed);
        let alone = [&self.messages[..self.n_fixed], &self.messages[last..]].concat();
        if count(&alone)? > context_len {
            return Ok(0);
        }
        // What is left must be computed anew, so that half of it goes at once and not a turn each time.
        let mut n_dropped = 0;
        while self.messages.len() > self.n_fixed + 1 && count(&self.messages)? > context_len / 2 {
            let turn = &self.messages[self.n_fixed + 1..];
            let n_turn = 1 + turn.iter().take_while(|message| message.role != "user").count();
            self.messages.drain(self.n_fixed..self.n_fixed + n_turn);
            n_dropped += 1;
        }
        Ok(n_dropped)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn count(messages: &[Message]) -> Result<usize, Infallible> {
        Ok(messages.iter().map(|message| message.content.len()).sum())
    }

    #[test]
    fn the_oldest_turns_go_and_the_system_message_stays() {
        let mut conversation = Conversation::new(Some("sys"));
        for turn in 0..4 {
            conversation.ask(format!("question {turn}"));
            conversation.answer("answer 9 ".repeat(2));
        }
        conversation.ask("last".to_owned());
        assert_eq!(conversation.shorten(1000, 100, count), Ok(0));
        assert_eq!(conversation.shorten(120, 30, count), Ok(3));
        let roles: Vec<&str> = conversation.messages().iter().map(|message| &*message.role).collect();
        assert_eq!(roles, ["system", "user", "assistant", "user"]);
        assert_eq!(conversation.messages()[1].content, "question 3");
    }

    #[test]
    fn the_last_message_is_never_dropped() {
        let mut conversation = Conversation::new(None);
        conversation.ask("short".to_owned());
        conversation.answer("answer".to_owned());
        conversation.ask("x".repeat(500));
        assert_eq!(conversation.shorten(100, 10, count), Ok(0));
        assert_eq!(conversation.messages().len(), 3);
        conversation.take_back();
        conversation.take_back();
        conversation.take_back();
        conversation.take_back();
        assert!(conversation.messages().is_empty());
    }
}
