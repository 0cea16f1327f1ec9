//! From single measurements to medians and ratios. Pure.

use super::job::Job;

/// Somebody who is measured.
pub struct Contender {
    /// For people.
    pub name: String,
    /// Its bars.
    pub colour: &'static str,
    /// The names of those it is compared with; none for those who are only there to be compared with.
    pub against: Vec<String>,
}

/// One measurement.
#[derive(Clone)]
pub struct Sample {
    /// Whose.
    pub contender: String,
    /// At what.
    pub job: Job,
    /// Only figures of the same round are compared.
    pub round: u32,
    /// Requests or bytes a second, as the report's unit says.
    pub rate: f64,
}

/// What the rounds agree on, and how far they do.
#[derive(Clone, Copy)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

/// What came of one contender at one job.
pub struct Cell {
    /// At what.
    pub job: Job,
    /// Whose, as a place among the contenders.
    pub contender: usize,
    /// Requests or bytes a second.
    pub rate: Spread,
    /// To each it is compared with, round by round.
    pub ratios: Vec<(String, Spread)>,
}

impl Spread {
    /// `None` of nothing.
    pub fn of(mut figures: Vec<f64>) -> Option<Spread> {
        figures.sort_by(f64::total_cmp);
        let (least, most) = (*figures.first()?, *figures.last()?);
        let middle = figures.len() / 2;
        let median = match figures.len() % 2 {
            1 => figures[middle],
            _ => (figures[middle - 1] + figures[middle]) / 2.0,
        };
        Some(Spread { median, least, most })
    }
}

/// All cells with a figure, job by job.
pub fn cells(jobs: &[Job], contenders: &[Contender], samples: &[Sample]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for job in jobs {
        for (place, contender) in contenders.iter().enumerate() {
            let rates =
                samples.iter().filter(|sample| sample.job == *job && sample.contender == contender.name);
            let Some(rate) = Spread::of(rates.map(|sample| sample.rate).collect()) else { continue };
            let ratio = |peer: &String| {
                let ratios = ratios(samples, (&contender.name, *job), (peer, *job));
                Some((peer.clone(), Spread::of(ratios)?))
            };
            let ratios = contender.against.iter().filter_map(ratio).collect();
            cells.push(Cell { job: *job, contender: place, rate, ratios });
        }
    }
    cells
}

/// One contender's rates at a job by another's at a job, round by round.
pub fn ratios(samples: &[Sample], own: (&str, Job), peer: (&str, Job)) -> Vec<f64> {
    let of =
        |sample: &&Sample, (contender, job): (&str, Job)| sample.contender == contender && sample.job == job;
    let ratio = |sample: &Sample| {
        let same = samples.iter().filter(|other| other.round == sample.round).find(|other| of(other, peer));
        same.map(|other| sample.rate / other.rate)
    };
    samples.iter().filter(|sample| of(sample, own)).filter_map(ratio).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_own_ratios() {
        let sample = |contender: &str, round, rate| {
            let contender = contender.to_owned();
            Sample { contender, job: Job::Read128k, round, rate }
        };
        // The machine is ten times faster in the second round, and only the peer was there in the last.
        let samples =
            [("own", 0, 2.0), ("peer", 0, 1.0), ("peer", 1, 10.0), ("own", 1, 30.0), ("peer", 2, 1.0)];
        let samples = samples.map(|(contender, round, rate)| sample(contender, round, rate));
        let ratios = ratios(&samples, ("own", Job::Read128k), ("peer", Job::Read128k));
        assert_eq!(ratios, [2.0, 3.0]);
        let spread = Spread::of(ratios).expect("two rounds");
        assert_eq!((spread.least, spread.median, spread.most), (2.0, 2.5, 3.0));
    }
}
