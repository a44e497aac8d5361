//! Numbers that are learnt, and the optimiser that changes them.

use std::sync::{Mutex, PoisonError};

use nano_reasoning_kernels::Pool;

/// How AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) takes a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Size of a step.
    pub learning_rate: f32,
    /// What is kept of the mean of gradients, and of their squares, from step to step.
    pub betas: (f32, f32),
    /// What keeps it from dividing by 0.
    pub eps: f32,
    /// Share of the numbers themselves that a step of size 1 takes away.
    pub weight_decay: f32,
    /// Largest norm of all gradients together; longer ones are shortened.
    pub max_norm: f32,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { learning_rate: 3e-4, betas: (0.9, 0.95), eps: 1e-8, weight_decay: 0.0, max_norm: 1.0 }
    }
}

/// Some numbers that are learnt together.
#[derive(Debug, Clone, Default)]
pub struct Parameter {
    /// The numbers.
    pub value: Vec<f32>,
    /// Of the loss, summed since the last step; as long as `value`.
    pub gradient: Vec<f32>,
    /// Running means of gradients and of their squares.
    pub(crate) moments: (Vec<f32>, Vec<f32>),
}

impl Parameter {
    /// Numbers to learn, starting from `value`.
    pub fn new(value: Vec<f32>) -> Self {
        let zeros = vec![0.0; value.len()];
        Self { gradient: zeros.clone(), moments: (zeros.clone(), zeros), value }
    }

    /// Bytes in memory.
    pub fn size_bytes(&self) -> usize {
        4 * size_of::<f32>() * self.value.len()
    }

    fn square_norm(&self) -> f64 {
        self.gradient.iter().map(|&g| f64::from(g) * f64::from(g)).sum()
    }
}

impl AdamW {
    /// Takes step `step`, from 1, and clears all gradients. Returns their norm before it was shortened.
    pub fn step<'a>(
        &self,
        pool: &Pool,
        step: u64,
        parameters: impl Iterator<Item = &'a mut Parameter>,
    ) -> f32 {
        let parameters: Vec<_> = parameters.map(Mutex::new).collect();
        let lock = |i: usize| parameters[i].lock().unwrap_or_else(PoisonError::into_inner);
        let square_norms: Vec<_> = parameters.iter().map(|_| Mutex::new(0.0)).collect();
        let norm_of = |i: usize| square_norms[i].lock().unwrap_or_else(PoisonError::into_inner);
        pool.run(parameters.len(), |i| *norm_of(i) = lock(i).square_norm());
        let norm = (0..parameters.len()).map(|i| *norm_of(i)).sum::<f64>().sqrt() as f32;
        let shorten = if norm > self.max_norm { self.max_norm / norm } else { 1.0 };
        let (beta_1, beta_2) = self.betas;
        let exponent = step.min(1 << 20) as i32;
        let (unbias_1, unbias_2) = (1.0 - beta_1.powi(exponent), 1.0 - beta_2.powi(exponent));
        let keep = 1.0 - self.learning_rate * self.weight_decay;
        pool.run(parameters.len(), |i| {
            let Parameter { value, gradient, moments: (first, second) } = &mut **lock(i);
            let numbers = value.iter_mut().zip(gradient.iter_mut()).zip(first.iter_mut().zip(second));
            for ((value, gradient), (first, second)) in numbers {
                let g = *gradient * shorten;
                *gradient = 0.0;
                *first = beta_1 * *first + (1.0 - beta_1) * g;
                *second = beta_2 * *second + (1.0 - beta_2) * g * g;
                let change = *first / unbias_1 / ((*second / unbias_2).sqrt() + self.eps);
                *value = *value * keep - self.learning_rate * change;
            }
        });
        norm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_is_as_long_as_the_learning_rate() {
        let mut parameter = Parameter::new(vec![1.0, -2.0, 0.5]);
        parameter.gradient = vec![0.3, -0.001, 0.0];
        let adamw = AdamW { learning_rate: 0.1, ..AdamW::default() };
        adamw.step(&Pool::new(1), 1, [&mut parameter].into_iter());
        let wanted = [0.9, -1.9, 0.5];
        assert!(
            parameter.value.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-4),
            "{:?}",
            parameter.value
        );
        assert_eq!(parameter.gradient, [0.0; 3]);
    }

    #[test]
    fn long_gradients_are_shortened_together() {
        let (mut a, mut b) = (Parameter::new(vec![0.0]), Parameter::new(vec![0.0]));
        (a.gradient[0], b.gradient[0]) = (30.0, 40.0);
        let adamw = AdamW { max_norm: 5.0, ..AdamW::default() };
        assert_eq!(adamw.step(&Pool::new(1), 1, [&mut a, &mut b].into_iter()), 50.0);
        let first = |parameter: &Parameter| parameter.moments.0[0] / (1.0 - adamw.betas.0);
        assert!((first(&a) - 3.0).abs() < 1e-4 && (first(&b) - 4.0).abs() < 1e-4);
    }
}
