//! The few protobuf rules that dag-pb and UnixFS need, both ways. Reading never trusts a length.

/// Why bytes are not protobuf of the expected shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// They end within a value.
    #[error("unexpected end of data")]
    Truncated,
    /// A number longer than 64 bits.
    #[error("a number is too long")]
    Overlong,
    /// A wire type that does not exist or is out of use.
    #[error("unknown wire type {0}")]
    WireType(u8),
}

/// One field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
    Fixed64(u64),
}

/// Reads fields one by one.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next field and its number; None at the end.
    pub(super) fn field(&mut self) -> Result<Option<(u64, Value<'a>)>, WireError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.number()?;
        let value = match key & 7 {
            0 => Value::Number(self.number()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let len = usize::try_from(self.number()?).map_err(|_| WireError::Truncated)?;
                Value::Bytes(self.take(len)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            other => return Err(WireError::WireType((other & 7) as u8)),
        };
        Ok(Some((key >> 3, value)))
    }

    /// A varint.
    pub(super) fn number(&mut self) -> Result<u64, WireError> {
        let mut out = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(WireError::Overlong);
            }
            out |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(out);
            }
        }
        Err(WireError::Overlong)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }
}

/// Appends a varint.
pub(super) fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes that a varint takes.
pub(super) fn number_len(value: u64) -> usize {
    let bits = u64::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Appends a field that is a number.
pub(super) fn put_number_field(out: &mut Vec<u8>, field: u64, value: u64) {
    put_number(out, field << 3);
    put_number(out, value);
}

/// Appends a field that is bytes.
pub(super) fn put_bytes_field(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    put_number(out, field << 3 | 2);
    put_number(out, value.len() as u64);
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(n in any::<u64>()) {
            let mut out = vec![];
            put_number(&mut out, n);
            let mut reader = Reader(&out);
            prop_assert_eq!(reader.number(), Ok(n));
            prop_assert_eq!(reader.0.len(), 0);
        }
    }

    #[test]
    fn lengths_are_not_trusted() {
        for bytes in [
            &[0x0a, 0xff, 0xff, 0xff, 0x7f][..],
            &[0x0a, 5, 1],
            &[0x80],
            &[0x09, 1],
        ] {
            assert_eq!(Reader(bytes).field(), Err(WireError::Truncated));
        }
        assert_eq!(Reader(&[0xff; 11]).field(), Err(WireError::Overlong));
        assert_eq!(Reader(&[0x0b]).field(), Err(WireError::WireType(3)));
    }
}
