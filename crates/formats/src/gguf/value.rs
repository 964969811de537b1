//! Metadata values: typed, and borrowed from the file.

use super::cursor::{Cursor, Fault};
use std::fmt;

/// The deepest nesting of arrays that is accepted; models have arrays of strings and numbers only.
pub const MAX_DEPTH: usize = 8;

/// The type of a metadata value, with its number in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ValueType {
    /// 8 bits.
    U8 = 0,
    /// 8 bits, signed.
    I8 = 1,
    /// 16 bits.
    U16 = 2,
    /// 16 bits, signed.
    I16 = 3,
    /// 32 bits.
    U32 = 4,
    /// 32 bits, signed.
    I32 = 5,
    /// 32-bit float.
    F32 = 6,
    /// One byte, 0 or 1.
    Bool = 7,
    /// UTF-8.
    String = 8,
    /// Values of one type.
    Array = 9,
    /// 64 bits.
    U64 = 10,
    /// 64 bits, signed.
    I64 = 11,
    /// 64-bit float.
    F64 = 12,
}

impl ValueType {
    /// Every type, each at its number.
    pub const ALL: [ValueType; 13] = [
        ValueType::U8,
        ValueType::I8,
        ValueType::U16,
        ValueType::I16,
        ValueType::U32,
        ValueType::I32,
        ValueType::F32,
        ValueType::Bool,
        ValueType::String,
        ValueType::Array,
        ValueType::U64,
        ValueType::I64,
        ValueType::F64,
    ];

    pub(super) fn from_number(number: u32) -> Option<ValueType> {
        ValueType::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// Bytes of the shortest value: all of it, except for strings and arrays, which have at least a length.
    pub(super) fn min_bytes(self) -> usize {
        match self {
            ValueType::U8 | ValueType::I8 | ValueType::Bool => 1,
            ValueType::U16 | ValueType::I16 => 2,
            ValueType::U32 | ValueType::I32 | ValueType::F32 => 4,
            ValueType::U64 | ValueType::I64 | ValueType::F64 | ValueType::String => 8,
            ValueType::Array => 4 + 8,
        }
    }
}

/// A metadata value.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)] // as in `ValueType`
pub enum Value<'a> {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(&'a str),
    Array(Array<'a>),
    U64(u64),
    I64(i64),
    F64(f64),
}

impl<'a> Value<'a> {
    /// Its type.
    pub fn value_type(&self) -> ValueType {
        match self {
            Value::U8(_) => ValueType::U8,
            Value::I8(_) => ValueType::I8,
            Value::U16(_) => ValueType::U16,
            Value::I16(_) => ValueType::I16,
            Value::U32(_) => ValueType::U32,
            Value::I32(_) => ValueType::I32,
            Value::F32(_) => ValueType::F32,
            Value::Bool(_) => ValueType::Bool,
            Value::String(_) => ValueType::String,
            Value::Array(_) => ValueType::Array,
            Value::U64(_) => ValueType::U64,
            Value::I64(_) => ValueType::I64,
            Value::F64(_) => ValueType::F64,
        }
    }

    /// An integer of any type that is not below 0.
    pub fn as_u64(self) -> Option<u64> {
        match self {
            Value::U64(x) => Some(x),
            _ => self.as_i64()?.try_into().ok(),
        }
    }

    /// An integer of any type, if it fits.
    pub fn as_i64(self) -> Option<i64> {
        Some(match self {
            Value::U8(x) => x.into(),
            Value::I8(x) => x.into(),
            Value::U16(x) => x.into(),
            Value::I16(x) => x.into(),
            Value::U32(x) => x.into(),
            Value::I32(x) => x.into(),
            Value::U64(x) => x.try_into().ok()?,
            Value::I64(x) => x,
            _ => return None,
        })
    }

    /// A float of either type.
    pub fn as_f64(self) -> Option<f64> {
        match self {
            Value::F32(x) => Some(x.into()),
            Value::F64(x) => Some(x),
            _ => None,
        }
    }

    /// A truth value.
    pub fn as_bool(self) -> Option<bool> {
        match self {
            Value::Bool(x) => Some(x),
            _ => None,
        }
    }

    /// A text.
    pub fn as_str(self) -> Option<&'a str> {
        match self {
            Value::String(x) => Some(x),
            _ => None,
        }
    }

    /// An array.
    pub fn as_array(self) -> Option<Array<'a>> {
        match self {
            Value::Array(x) => Some(x),
            _ => None,
        }
    }

    /// An array whose elements are all of type `element`.
    pub fn as_array_of(self, element: ValueType) -> Option<Array<'a>> {
        self.as_array().filter(|array| array.element == element)
    }

    /// Appends the value without its type, as it stands in a file.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        match self {
            Value::U8(x) => out.push(x),
            Value::I8(x) => out.extend(x.to_le_bytes()),
            Value::U16(x) => out.extend(x.to_le_bytes()),
            Value::I16(x) => out.extend(x.to_le_bytes()),
            Value::U32(x) => out.extend(x.to_le_bytes()),
            Value::I32(x) => out.extend(x.to_le_bytes()),
            Value::F32(x) => out.extend(x.to_le_bytes()),
            Value::Bool(x) => out.push(x.into()),
            Value::String(x) => {
                out.extend((x.len() as u64).to_le_bytes());
                out.extend(x.as_bytes());
            }
            Value::Array(x) => {
                out.extend((x.element as u32).to_le_bytes());
                out.extend((x.len as u64).to_le_bytes());
                out.extend(x.bytes);
            }
            Value::U64(x) => out.extend(x.to_le_bytes()),
            Value::I64(x) => out.extend(x.to_le_bytes()),
            Value::F64(x) => out.extend(x.to_le_bytes()),
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::U8(x) => x.fmt(f),
            Value::I8(x) => x.fmt(f),
            Value::U16(x) => x.fmt(f),
            Value::I16(x) => x.fmt(f),
            Value::U32(x) => x.fmt(f),
            Value::I32(x) => x.fmt(f),
            Value::F32(x) => x.fmt(f),
            Value::Bool(x) => x.fmt(f),
            // Quoted: a text from a file may hold what moves a terminal's cursor.
            Value::String(x) => write!(f, "{:?}", crate::error::shown(x)),
            Value::Array(x) => write!(f, "an array of {} {:?}", x.len, x.element),
            Value::U64(x) => x.fmt(f),
            Value::I64(x) => x.fmt(f),
            Value::F64(x) => x.fmt(f),
        }
    }
}

macro_rules! from {
    ($($type:ty => $variant:ident),*) => {
        $(impl<'a> From<$type> for Value<'a> {
            fn from(x: $type) -> Self {
                Value::$variant(x)
            }
        })*
    };
}

from!(u32 => U32, i32 => I32, u64 => U64, f32 => F32, bool => Bool, &'a str => String, Array<'a> => Array);

/// Values of one type, still in the file: some hundred thousand tokens cost nothing until they are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Array<'a> {
    element: ValueType,
    len: usize,
    /// The elements as they stand in the file, checked.
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    pub(super) fn new(element: ValueType, len: usize, bytes: &'a [u8]) -> Self {
        Self { element, len, bytes }
    }

    /// The type of every element.
    pub fn element_type(&self) -> ValueType {
        self.element
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True where there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The elements in their order.
    pub fn iter(&self) -> Items<'a> {
        Items {
            cursor: Cursor::new(self.bytes),
            element: self.element,
            left: self.len,
        }
    }
}

impl<'a> IntoIterator for Array<'a> {
    type Item = Value<'a>;
    type IntoIter = Items<'a>;

    fn into_iter(self) -> Items<'a> {
        self.iter()
    }
}

impl fmt::Debug for Array<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:?}; {}]", self.element, self.len)
    }
}

/// The elements of an [`Array`].
#[derive(Clone, Debug)]
pub struct Items<'a> {
    cursor: Cursor<'a>,
    element: ValueType,
    left: usize,
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        self.left = self.left.checked_sub(1)?;
        // The file was checked when it was opened. Where somebody has changed it since, the array ends here.
        let value = self.cursor.value(self.element);
        self.left = if value.is_ok() { self.left } else { 0 };
        value.ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<'a> Cursor<'a> {
    /// The next value, of type `kind`. Arrays are walked and checked whole.
    pub(super) fn value(&mut self, kind: ValueType) -> Result<Value<'a>, Fault> {
        self.nested_value(kind, 0)
    }

    fn nested_value(&mut self, kind: ValueType, depth: usize) -> Result<Value<'a>, Fault> {
        Ok(match kind {
            ValueType::U8 => Value::U8(u8::from_le_bytes(self.number()?)),
            ValueType::I8 => Value::I8(i8::from_le_bytes(self.number()?)),
            ValueType::U16 => Value::U16(u16::from_le_bytes(self.number()?)),
            ValueType::I16 => Value::I16(i16::from_le_bytes(self.number()?)),
            ValueType::U32 => Value::U32(u32::from_le_bytes(self.number()?)),
            ValueType::I32 => Value::I32(i32::from_le_bytes(self.number()?)),
            ValueType::F32 => Value::F32(f32::from_le_bytes(self.number()?)),
            ValueType::U64 => Value::U64(u64::from_le_bytes(self.number()?)),
            ValueType::I64 => Value::I64(i64::from_le_bytes(self.number()?)),
            ValueType::F64 => Value::F64(f64::from_le_bytes(self.number()?)),
            ValueType::Bool => match self.number()? {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                [x] => {
                    return Err(Fault::Malformed(format!(
                        "holds the byte {x} as a truth value; expected 0 or 1"
                    )));
                }
            },
            ValueType::String => Value::String(self.string()?),
            ValueType::Array => Value::Array(self.array(depth + 1)?),
        })
    }

    fn array(&mut self, depth: usize) -> Result<Array<'a>, Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::Malformed(format!("nests arrays deeper than {MAX_DEPTH} levels")));
        }
        let (element, len) = self.array_head()?;
        let begin = self.at();
        match element {
            ValueType::Bool | ValueType::String | ValueType::Array => {
                for _ in 0..len {
                    self.nested_value(element, depth)?;
                }
            }
            // Any bytes are numbers. The length was compared with what is left.
            _ => drop(self.take(len as u64 * element.min_bytes() as u64)?),
        }
        Ok(Array::new(element, len, self.since(begin)))
    }

    /// Type and number of an array's elements, which are no more than what is left has room for.
    pub(super) fn array_head(&mut self) -> Result<(ValueType, usize), Fault> {
        let number = u32::from_le_bytes(self.number()?);
        let element = ValueType::from_number(number).ok_or(Fault::UnknownType(number))?;
        let len = u64::from_le_bytes(self.number()?);
        self.expect(len.saturating_mul(element.min_bytes() as u64))?;
        Ok((element, len as usize))
    }
}
