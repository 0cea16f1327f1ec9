//! The field GF(2^8) in which Q is computed: polynomial x^8 + x^4 + x^3 + x^2 + 1 (0x11d), generator 2.
//!
//! A byte is a polynomial over GF(2); adding is xor. Every table is computed at compile time from [`product`], the
//! definition. The tests hold it against a multiplication of their own.

/// What is added when a doubled byte leaves the field: the polynomial without its x^8.
pub(crate) const REDUCTION: u8 = 0x1d;

/// Powers of the generator before they repeat.
pub(crate) const ORDER: usize = 255;

/// `POWER[i]` is 2^i.
const POWER: [u8; ORDER] = powers();

/// `LOGARITHM[x]` is the i with 2^i = x; the place of zero, which has none, is never read.
const LOGARITHM: [u8; 256] = logarithms();

/// `NIBBLES[c]` multiplies by c: 16 products of the low nibbles, then 16 of the high ones.
static NIBBLES: [[u8; 32]; 256] = nibbles();

/// `MATRICES[c]` multiplies by c: see [`matrix`].
#[cfg(target_arch = "x86_64")]
static MATRICES: [u64; 256] = matrices();

/// 2^exponent, the coefficient of the data block with that index; exponents repeat after 255.
pub(crate) const fn power(exponent: usize) -> u8 {
    POWER[exponent % ORDER]
}

/// The index whose coefficient `value` is. Zero has none.
pub(crate) const fn logarithm(value: u8) -> u8 {
    assert!(value != 0, "zero is no power of the generator");
    LOGARITHM[value as usize]
}

/// The byte that multiplied with `value` gives 1. Zero has none.
pub(crate) const fn inverse(value: u8) -> u8 {
    power(ORDER - logarithm(value) as usize)
}

/// The product of two bytes, by the definition: one shifted copy of `left` for each bit of `right`.
pub(crate) const fn product(left: u8, right: u8) -> u8 {
    let (mut shifted, mut rest, mut sum) = (left, right, 0);
    while rest != 0 {
        if rest & 1 == 1 {
            sum ^= shifted;
        }
        shifted = double(shifted);
        rest >>= 1;
    }
    sum
}

/// Twice a byte.
pub(crate) const fn double(value: u8) -> u8 {
    (value << 1) ^ ((value >> 7) * REDUCTION)
}

/// The two tables of 16 by which a shuffle multiplies with `factor`: of a low nibble, and of a high one.
pub(crate) fn nibble_tables(factor: u8) -> &'static [u8; 32] {
    &NIBBLES[factor as usize]
}

/// Multiplication by `factor` as a matrix of 8x8 bits: bit j of the row for bit i says whether bit j of the operand
/// goes into bit i of the product. The row of bit 7 is the lowest byte, as the affine instruction wants it.
#[cfg(target_arch = "x86_64")]
pub(crate) fn matrix(factor: u8) -> u64 {
    MATRICES[factor as usize]
}

#[cfg(target_arch = "x86_64")]
const fn matrix_of(factor: u8) -> u64 {
    let mut rows = [0u8; 8];
    let mut operand = 0;
    while operand < 8 {
        let column = product(factor, 1 << operand);
        let mut bit = 0;
        while bit < 8 {
            rows[7 - bit] |= ((column >> bit) & 1) << operand;
            bit += 1;
        }
        operand += 1;
    }
    u64::from_le_bytes(rows)
}

const fn powers() -> [u8; ORDER] {
    let mut table = [1; ORDER];
    let mut exponent = 1;
    while exponent < ORDER {
        table[exponent] = double(table[exponent - 1]);
        exponent += 1;
    }
    table
}

const fn logarithms() -> [u8; 256] {
    let mut table = [0; 256];
    let mut exponent = 0;
    while exponent < ORDER {
        table[POWER[exponent] as usize] = exponent as u8;
        exponent += 1;
    }
    table
}

const fn nibbles() -> [[u8; 32]; 256] {
    let mut table = [[0; 32]; 256];
    let mut factor = 0;
    while factor < 256 {
        let mut nibble = 0;
        while nibble < 16 {
            table[factor][nibble] = product(factor as u8, nibble as u8);
            table[factor][16 + nibble] = product(factor as u8, (nibble as u8) << 4);
            nibble += 1;
        }
        factor += 1;
    }
    table
}

#[cfg(target_arch = "x86_64")]
const fn matrices() -> [u64; 256] {
    let mut table = [0; 256];
    let mut factor = 0;
    while factor < 256 {
        table[factor] = matrix_of(factor as u8);
        factor += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Schoolbook: the product of the polynomials in 16 bits, then long division by 0x11d.
    fn schoolbook(left: u8, right: u8) -> u8 {
        let mut long: u16 =
            (0..8).filter(|bit| right >> bit & 1 == 1).fold(0, |sum, bit| sum ^ (u16::from(left) << bit));
        for bit in (8..16).rev() {
            if long >> bit & 1 == 1 {
                long ^= 0x11d << (bit - 8);
            }
        }
        long as u8
    }

    fn bytes() -> impl Iterator<Item = u8> + Clone {
        0..=255
    }

    #[test]
    fn every_product_is_the_schoolbook_one_by_every_table() {
        for left in bytes() {
            let nibbles = nibble_tables(left);
            for right in bytes() {
                let expected = schoolbook(left, right);
                assert_eq!(product(left, right), expected, "{left} * {right}");
                let (low, high) = (usize::from(right & 15), usize::from(right >> 4));
                assert_eq!(nibbles[low] ^ nibbles[16 + high], expected, "{left} * {right} by nibbles");
            }
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn every_product_is_the_schoolbook_one_by_every_matrix() {
        for (left, right) in bytes().flat_map(|left| bytes().map(move |right| (left, right))) {
            assert_eq!(affine(matrix(left), right), schoolbook(left, right), "{left} * {right}");
        }
    }

    /// What GF2P8AFFINEQB is documented to do to one byte.
    #[cfg(target_arch = "x86_64")]
    fn affine(matrix: u64, operand: u8) -> u8 {
        let row = |bit: usize| matrix.to_le_bytes()[7 - bit];
        (0..8).fold(0, |sum, bit| sum | (((row(bit) & operand).count_ones() as u8 & 1) << bit))
    }

    #[test]
    fn the_axioms_of_a_field_hold_for_every_byte() {
        for a in bytes() {
            assert_eq!(product(a, 1), a);
            assert_eq!(product(a, 0), 0);
            assert_eq!(double(a), schoolbook(a, 2));
            for b in bytes() {
                assert_eq!(product(a, b), product(b, a));
                assert_eq!(product(a, b) == 0, a == 0 || b == 0);
                for c in bytes().step_by(7) {
                    assert_eq!(product(a, product(b, c)), product(product(a, b), c));
                    assert_eq!(product(a, b ^ c), product(a, b) ^ product(a, c));
                }
            }
        }
    }

    #[test]
    fn two_generates_everything_but_zero() {
        let mut seen = [false; 256];
        for exponent in 0..ORDER {
            let value = power(exponent);
            assert!(!seen[usize::from(value)]);
            seen[usize::from(value)] = true;
            assert_eq!(usize::from(logarithm(value)), exponent);
            assert_eq!(schoolbook(value, inverse(value)), 1);
        }
        assert!(!seen[0]);
        assert_eq!(power(ORDER), 1);
    }
}
