//! LSTM, GRU and RNN, unrolled over their steps.

use razorc_proto::onnx::NodeProto;

use super::node::{At, Refused, refuse};
use super::shapes::Attributes;
use crate::attrs::Attrs;
use crate::graph::Value;

/// Steps of all directions that a graph is unrolled to; more would take it minutes to be scheduled.
const MOST_STEPS: u64 = 4096;

/// Sizes of a recurrent node.
pub struct Sizes {
    steps: u64,
    batch: u64,
    input: u64,
    hidden: u64,
    directions: u64,
    /// Whether the batch comes before the steps.
    batch_first: bool,
    gates: u64,
}

impl Sizes {
    /// From the input, and the weights between steps.
    pub fn of(node: &NodeProto, x: &[u64], r: &[u64]) -> Result<Sizes, Refused> {
        let gates = match node.op_type() {
            "LSTM" => 4,
            "GRU" => 3,
            _ => 1,
        };
        let directions = match node.word("direction", "forward").as_str() {
            "forward" | "reverse" => 1,
            "bidirectional" => 2,
            word => return refuse(format!("has direction {word}, which is not supported")),
        };
        let (&[first, second, input], &[r_directions, rows, hidden]) = (x, r) else {
            return refuse(format!("of {x:?} with {r:?} is not supported"));
        };
        if r_directions != directions || rows != gates * hidden {
            return refuse(format!("has weights {r:?} for {directions} directions"));
        }
        let batch_first = node.int("layout", 0) != 0;
        let (steps, batch) = if batch_first { (second, first) } else { (first, second) };
        Ok(Sizes { steps, batch, input, hidden, directions, batch_first, gates })
    }

    /// Axis sizes of Y, Y_h and Y_c.
    pub fn outputs(&self) -> Vec<Vec<u64>> {
        let &Sizes { steps, batch, hidden, directions, .. } = self;
        let (all, last) = match self.batch_first {
            true => (vec![batch, steps, directions, hidden], vec![batch, directions, hidden]),
            false => (vec![steps, directions, batch, hidden], vec![directions, batch, hidden]),
        };
        vec![all, last.clone(), last]
    }
}

/// LSTM.
pub fn lstm(at: &mut At<'_, '_>) -> Result<(), Refused> {
    if at.int("input_forget", 0) != 0 {
        return refuse("with input_forget is not supported");
    }
    unroll(at, &["Sigmoid", "Tanh", "Tanh"], lstm_step)
}

/// GRU.
pub fn gru(at: &mut At<'_, '_>) -> Result<(), Refused> {
    unroll(at, &["Sigmoid", "Tanh"], gru_step)
}

/// RNN.
pub fn rnn(at: &mut At<'_, '_>) -> Result<(), Refused> {
    unroll(at, &["Tanh"], rnn_step)
}

/// One direction's weights.
struct Cell {
    hidden: u64,
    /// Between steps, `[gates * hidden, hidden]`.
    r: Value,
    /// Of the products with `r`, where they stand on their own.
    r_bias: Option<Value>,
    /// Of the cell on the gates i, o and f, `[hidden]` each.
    peepholes: Option<[Value; 3]>,
    /// Weight and bias of a GRU's last gate, where the state is reset before the product.
    last: Option<(Value, Option<Value>)>,
}

/// What goes from step to step.
#[derive(Clone, Copy)]
struct State {
    h: Value,
    c: Option<Value>,
}

/// A step: from the input's part of the gates, `[batch, gates * hidden]`.
type Step = fn(&mut At<'_, '_>, &Cell, Value, State) -> Result<State, Refused>;

fn unroll(at: &mut At<'_, '_>, activations: &[&str], step: Step) -> Result<(), Refused> {
    check_activations(at, activations)?;
    if at.attr("clip").is_some() {
        return refuse("with clip is not supported");
    }
    let (x, w, r) = (at.input(0)?, at.input(1)?, at.input(2)?);
    let sizes = Sizes::of(at.node(), &at.dims(x), &at.dims(r))?;
    let Sizes { steps, batch, hidden, directions, batch_first, gates, .. } = sizes;
    if MOST_STEPS < steps.saturating_mul(directions) {
        return refuse(format!("is unrolled, and {steps} steps are too many; up to {MOST_STEPS} are supported"));
    }
    if at.ints(4)?.is_some_and(|it| it.iter().any(|&it| it != steps as i64)) {
        return refuse("with sequences of different lengths is not supported");
    }
    let time = usize::from(batch_first);
    let mut ends = vec![];
    for direction in 0..directions {
        let w = part(at, w, 0, direction, &[gates * hidden, sizes.input])?;
        let r = part(at, r, 0, direction, &[gates * hidden, hidden])?;
        let (w_bias, r_bias) = biases(at, direction, gates * hidden)?;
        let initial = |at: &mut At<'_, '_>, slot: usize| match at.has(slot) {
            true => {
                let all = at.input(slot)?;
                part(at, all, usize::from(batch_first), direction, &[batch, hidden])
            }
            false => at.zeros(&[batch, hidden], "zeros"),
        };
        let h = initial(at, 5)?;
        let c = if at.op_type() == "LSTM" { Some(initial(at, 6)?) } else { None };
        let peepholes = match at.op_type() == "LSTM" && at.has(7) {
            true => {
                let all = at.input(7)?;
                let all = part(at, all, 0, direction, &[3, hidden])?;
                Some([
                    part(at, all, 0, 0, &[hidden])?,
                    part(at, all, 0, 1, &[hidden])?,
                    part(at, all, 0, 2, &[hidden])?,
                ])
            }
            false => None,
        };
        let mut cell = Cell { hidden, r, r_bias, peepholes, last: None };
        if at.op_type() == "GRU" && at.int("linear_before_reset", 0) == 0 {
            cell.last = Some(rows(at, (r, r_bias), 2 * hidden, hidden)?);
            (cell.r, cell.r_bias) = rows(at, (r, r_bias), 0, 2 * hidden)?;
        }
        let operands = [Some(x), Some(w), w_bias].into_iter().flatten().collect::<Vec<_>>();
        let gates_of_all = at.emit("linear", &operands, Attrs::new().with("transpose", 1), "gates")?;
        let backwards = direction == 1 || at.word("direction", "forward") == "reverse";
        let mut state = State { h, c };
        let mut all = vec![h; steps as usize];
        for step_idx in 0..steps {
            let t = if backwards { steps - 1 - step_idx } else { step_idx };
            let of_input = part(at, gates_of_all, time, t, &[batch, gates * hidden])?;
            state = step(at, &cell, of_input, state)?;
            all[t as usize] = state.h;
        }
        ends.push((all, state));
    }
    outputs(at, &sizes, &ends)
}

/// Y, Y_h and Y_c, as far as the node has them.
fn outputs(at: &mut At<'_, '_>, sizes: &Sizes, ends: &[(Vec<Value>, State)]) -> Result<(), Refused> {
    let Sizes { batch, hidden, batch_first, .. } = *sizes;
    let (steps_axis, directions_axis) = if batch_first { (1, 2) } else { (0, 1) };
    if at.makes(0) {
        let (mut directions, mut one) = (vec![], sizes.outputs()[0].clone());
        (one[steps_axis], one[directions_axis]) = (1, 1);
        for (all, _) in ends {
            let shape = Attrs::new().with("shape", one.as_slice());
            let steps = all.iter().map(|&h| at.emit("reshape", &[h], shape.clone(), "step"));
            let steps = steps.collect::<Result<Vec<_>, _>>()?;
            directions.push(at.emit("concat", &steps, Attrs::new().with("axis", steps_axis as i64), "steps")?);
        }
        at.make_output(0, "concat", &directions, Attrs::new().with("axis", directions_axis as i64))?;
    }
    for slot in [1, 2] {
        if !at.makes(slot) {
            continue;
        }
        let shape = if batch_first { [batch, 1, hidden] } else { [1, batch, hidden] };
        let mut last = vec![];
        for (_, state) in ends {
            let state = if slot == 1 { Some(state.h) } else { state.c };
            let state = state.ok_or_else(|| Refused("has no cell to give out".into()))?;
            last.push(at.emit("reshape", &[state], Attrs::new().with("shape", shape.as_slice()), "last")?);
        }
        at.make_output(slot, "concat", &last, Attrs::new().with("axis", i64::from(batch_first)))?;
    }
    Ok(())
}

fn check_activations(at: &At<'_, '_>, expected: &[&str]) -> Result<(), Refused> {
    let found = at.attr("activations").map(|it| it.strings.clone()).unwrap_or_default();
    let found: Vec<String> = found.iter().map(|it| String::from_utf8_lossy(it).into_owned()).collect();
    let fits = |at: usize, it: &String| it.eq_ignore_ascii_case(expected[at % expected.len()]);
    if found.iter().enumerate().all(|(at, it)| fits(at, it)) {
        return Ok(());
    }
    refuse(format!("with the activations {} is not supported; {} are", found.join(", "), expected.join(", ")))
}

/// Bias of the products with x, and of those with h. Only where they cannot be one are there two.
fn biases(at: &mut At<'_, '_>, direction: u64, rows: u64) -> Result<(Option<Value>, Option<Value>), Refused> {
    if !at.has(3) {
        return Ok((None, None));
    }
    let all = at.input(3)?;
    let both = part(at, all, 0, direction, &[2, rows])?;
    let (w, r) = (part(at, both, 0, 0, &[rows])?, part(at, both, 0, 1, &[rows])?);
    match at.op_type() {
        "GRU" => Ok((Some(w), Some(r))),
        _ => Ok((Some(at.emit("add", &[w, r], Attrs::new(), "bias")?), None)),
    }
}

fn rnn_step(at: &mut At<'_, '_>, cell: &Cell, of_input: Value, state: State) -> Result<State, Refused> {
    let of_state = linear(at, state.h, cell.r, cell.r_bias)?;
    let sum = at.emit("add", &[of_input, of_state], Attrs::new(), "sum")?;
    Ok(State { h: at.emit("tanh", &[sum], Attrs::new(), "h")?, c: None })
}

fn lstm_step(at: &mut At<'_, '_>, cell: &Cell, of_input: Value, state: State) -> Result<State, Refused> {
    let (none, n) = (Attrs::new, cell.hidden);
    let c = state.c.ok_or_else(|| Refused("has no cell".into()))?;
    let of_state = linear(at, state.h, cell.r, cell.r_bias)?;
    let sum = at.emit("add", &[of_input, of_state], none(), "sum")?;
    let gate = |at: &mut At<'_, '_>, which: u64, peep: Option<(usize, Value)>| -> Result<Value, Refused> {
        let mut gate = columns(at, sum, which * n, n)?;
        if let (Some((peep, c)), Some(peepholes)) = (peep, cell.peepholes) {
            let seen = at.emit("mul", &[c, peepholes[peep]], none(), "seen")?;
            gate = at.emit("add", &[gate, seen], none(), "sum")?;
        }
        Ok(gate)
    };
    let (i, f, new) = (gate(at, 0, Some((0, c)))?, gate(at, 2, Some((2, c)))?, gate(at, 3, None)?);
    let i = at.emit("sigmoid", &[i], none(), "i")?;
    let f = at.emit("sigmoid", &[f], none(), "f")?;
    let new = at.emit("tanh", &[new], none(), "new")?;
    let kept = at.emit("mul", &[f, c], none(), "kept")?;
    let added = at.emit("mul", &[i, new], none(), "added")?;
    let c = at.emit("add", &[kept, added], none(), "c")?;
    let o = gate(at, 1, Some((1, c)))?;
    let o = at.emit("sigmoid", &[o], none(), "o")?;
    let shown = at.emit("tanh", &[c], none(), "shown")?;
    Ok(State { h: at.emit("mul", &[o, shown], none(), "h")?, c: Some(c) })
}

fn gru_step(at: &mut At<'_, '_>, cell: &Cell, of_input: Value, state: State) -> Result<State, Refused> {
    let (none, n) = (Attrs::new, cell.hidden);
    let h = state.h;
    let gate = |at: &mut At<'_, '_>, of_state: Value, which: u64| {
        let (x, h) = (columns(at, of_input, which * n, n)?, columns(at, of_state, which * n, n)?);
        let sum = at.emit("add", &[x, h], none(), "sum")?;
        at.emit("sigmoid", &[sum], none(), if which == 0 { "z" } else { "r" })
    };
    let of_state = linear(at, h, cell.r, cell.r_bias)?;
    let (z, r) = (gate(at, of_state, 0)?, gate(at, of_state, 1)?);
    let of_reset = match cell.last {
        None => {
            let of_h = columns(at, of_state, 2 * n, n)?;
            at.emit("mul", &[r, of_h], none(), "reset")?
        }
        Some((w, bias)) => {
            let reset = at.emit("mul", &[r, h], none(), "reset")?;
            linear(at, reset, w, bias)?
        }
    };
    let x = columns(at, of_input, 2 * n, n)?;
    let sum = at.emit("add", &[x, of_reset], none(), "sum")?;
    let new = at.emit("tanh", &[sum], none(), "new")?;
    let change = at.emit("sub", &[h, new], none(), "change")?;
    let kept = at.emit("mul", &[z, change], none(), "kept")?;
    Ok(State { h: at.emit("add", &[new, kept], none(), "h")?, c: None })
}

/// `count` rows of a weight and of its bias.
fn rows(
    at: &mut At<'_, '_>,
    (w, bias): (Value, Option<Value>),
    first: u64,
    count: u64,
) -> Result<(Value, Option<Value>), Refused> {
    let w = span(at, w, 0, first, count)?;
    let bias = bias.map(|it| span(at, it, 0, first, count)).transpose()?;
    Ok((w, bias))
}

fn linear(at: &mut At<'_, '_>, x: Value, w: Value, bias: Option<Value>) -> Result<Value, Refused> {
    let operands: Vec<Value> = [Some(x), Some(w), bias].into_iter().flatten().collect();
    at.emit("linear", &operands, Attrs::new().with("transpose", 1), "of_state")
}

/// `count` columns of a matrix.
fn columns(at: &mut At<'_, '_>, value: Value, first: u64, count: u64) -> Result<Value, Refused> {
    span(at, value, 1, first, count)
}

/// Entry `idx` of an axis, as a tensor of `shape`.
fn part(at: &mut At<'_, '_>, value: Value, axis: usize, idx: u64, shape: &[u64]) -> Result<Value, Refused> {
    let per_entry = shape.iter().product::<u64>();
    let dims = at.dims(value);
    if dims.iter().product::<u64>() == per_entry {
        return reshaped(at, value, shape);
    }
    let value = span(at, value, axis, idx, 1)?;
    reshaped(at, value, shape)
}

fn reshaped(at: &mut At<'_, '_>, value: Value, shape: &[u64]) -> Result<Value, Refused> {
    match at.dims(value) == shape {
        true => Ok(value),
        false => at.emit("reshape", &[value], Attrs::new().with("shape", shape), "axes"),
    }
}

/// `count` entries of an axis from `first` on.
fn span(at: &mut At<'_, '_>, value: Value, axis: usize, first: u64, count: u64) -> Result<Value, Refused> {
    let dims = at.dims(value);
    if dims.get(axis).is_none_or(|&it| it < first + count) {
        return refuse(format!("has a tensor of {dims:?} where axis {axis} has {} entries", first + count));
    }
    if dims[axis] == count {
        return Ok(value);
    }
    let (mut starts, mut ends) = (vec![0; dims.len()], dims.iter().map(|&it| it as i64).collect::<Vec<_>>());
    (starts[axis], ends[axis]) = (first as i64, (first + count) as i64);
    let attrs = Attrs::new().with("starts", starts).with("ends", ends).with("steps", vec![1; dims.len()]);
    at.emit("slice", &[value], attrs, "part")
}
