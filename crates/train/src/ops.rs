//! Steps of a decoder layer backwards: given how the loss changes with what a step gave, how it changes with what it took.

/// Through `y = x · weight / rms(x)`, row by row. `dy` is `[n, weight.len()]`; adds to `dx` and, where given, to the weight's.
pub(crate) fn rms_norm_back(
    x: &[f32],
    weight: &[f32],
    eps: f32,
    dy: &[f32],
    dx: &mut [f32],
    mut d_weight: Option<&mut [f32]>,
) {
    let width = weight.len();
    let rows = x.chunks_exact(width).zip(dy.chunks_exact(width)).zip(dx.chunks_exact_mut(width));
    for ((x, dy), dx) in rows {
        let mean_square = x.iter().map(|x| x * x).sum::<f32>() / width as f32;
        let scale = 1.0 / (mean_square + eps).sqrt();
        let dot: f32 = x.iter().zip(weight).zip(dy).map(|((x, w), dy)| x * w * dy).sum();
        let pull = dot * scale * scale * scale / width as f32;
        for (((dx, x), w), dy) in dx.iter_mut().zip(x).zip(weight).zip(dy) {
            *dx += w * dy * scale - x * pull;
        }
        if let Some(d_weight) = d_weight.as_deref_mut() {
            d_weight.iter_mut().zip(x).zip(dy).for_each(|((d, x), dy)| *d += x * scale * dy);
        }
    }
}

/// Through `h = silu(gate) · up`: `dh` becomes the gate's, and `d_up` is `up`'s.
pub(crate) fn silu_multiply_back(gate: &[f32], up: &[f32], dh: &mut [f32], d_up: &mut [f32]) {
    for (((gate, up), dh), d_up) in gate.iter().zip(up).zip(dh).zip(d_up) {
        let sigmoid = 1.0 / (1.0 + (-gate).exp());
        *d_up = *dh * gate * sigmoid;
        *dh *= up * sigmoid * (1.0 + gate * (1.0 - sigmoid));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `f` is a sum over outputs weighted by `dy`.
    fn slope(f: impl Fn(f32) -> f32) -> f32 {
        let step = 1e-2;
        (f(step) - f(-step)) / (2.0 * step)
    }

    fn rms_norm(x: &[f32], weight: &[f32], eps: f32) -> Vec<f32> {
        let mean_square = x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32;
        x.iter().zip(weight).map(|(x, w)| x * w / (mean_square + eps).sqrt()).collect()
    }

    #[test]
    fn rms_norm_agrees_with_differences() {
        let (x, weight, dy) = ([0.3, -1.2, 0.8, 0.1], [1.0, 0.5, -2.0, 0.7], [0.4, 0.9, -0.3, 1.5]);
        let (mut dx, mut d_weight) = ([0.0; 4], [0.0; 4]);
        rms_norm_back(&x, &weight, 1e-5, &dy, &mut dx, Some(&mut d_weight));
        for i in 0..4 {
            let value = |x: &[f32], weight: &[f32]| -> f32 {
                rms_norm(x, weight, 1e-5).iter().zip(dy).map(|(y, dy)| y * dy).sum()
            };
            let moved = |from: [f32; 4], by: f32| {
                let mut moved = from;
                moved[i] += by;
                moved
            };
            assert!((slope(|by| value(&moved(x, by), &weight)) - dx[i]).abs() < 2e-3);
            assert!((slope(|by| value(&x, &moved(weight, by))) - d_weight[i]).abs() < 2e-3);
        }
    }

    #[test]
    fn silu_multiply_agrees_with_differences() {
        let h = |gate: f32, up: f32| gate / (1.0 + (-gate).exp()) * up;
        for (gate, up) in [(0.7, -1.1), (-2.0, 0.4), (3.0, 2.0), (0.0, 1.0)] {
            let (mut dh, mut d_up) = ([1.3], [0.0]);
            silu_multiply_back(&[gate], &[up], &mut dh, &mut d_up);
            assert!((slope(|by| 1.3 * h(gate + by, up)) - dh[0]).abs() < 2e-3);
            assert!((slope(|by| 1.3 * h(gate, up + by)) - d_up[0]).abs() < 2e-3);
        }
    }
}
