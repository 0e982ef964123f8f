//! Writes JSON rows to an Apache Parquet file, with one group of rows in memory.

use std::io::{self, Write};
use std::sync::Arc;

use ::parquet::basic::{
    Compression, ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical,
};
use ::parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int32Type, Int64Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::types::{Type, TypePtr};
use chrono::{DateTime, NaiveDate};
use serde_json::{Map, Value};

use crate::store::export::Column;

/// Rows per group: a few megabytes for any view.
const GROUP: usize = 20_000;

/// An unfinished file.
pub(super) struct Table<W: Write + Send> {
    file: SerializedFileWriter<W>,
    columns: Vec<Buffer>,
    rows: usize,
    /// The start of an incomplete line.
    rest: Vec<u8>,
}

/// The values of one column within a group. Definition levels mark missing values: 0 for null, the highest for a value.
struct Buffer {
    name: String,
    values: Values,
    definition: Vec<i16>,
    /// For lists: 0 at the start of a row.
    repetition: Vec<i16>,
}

enum Values {
    Int(Vec<i32>),
    Date(Vec<i32>),
    Long(Vec<i64>),
    Instant(Vec<i64>),
    Boolean(Vec<bool>),
    Text(Vec<ByteArray>),
    Json(Vec<ByteArray>),
    List(Vec<ByteArray>),
}

impl<W: Write + Send> Table<W> {
    pub(super) fn new(target: W, columns: &[Column]) -> io::Result<Self> {
        let columns: Vec<Buffer> = columns.iter().map(Buffer::new).collect();
        let fields = columns.iter().map(Buffer::schema);
        let fields = fields.collect::<Result<_, _>>().map_err(as_io)?;
        let schema = Type::group_type_builder("schema").with_fields(fields);
        let schema = Arc::new(schema.build().map_err(as_io)?);
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("cvsync ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let file = SerializedFileWriter::new(target, schema, Arc::new(properties));
        Ok(Self {
            file: file.map_err(as_io)?,
            columns,
            rows: 0,
            rest: Vec::new(),
        })
    }

    /// Takes the next piece of the lines; it may end in the middle of one.
    pub(super) fn lines(&mut self, mut piece: &[u8]) -> io::Result<()> {
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(&piece[..end]);
            piece = &piece[end + 1..];
            let row: Map<String, Value> = serde_json::from_slice(&self.rest)?;
            self.rest.clear();
            for column in &mut self.columns {
                let value = row.get(&column.name);
                column.push(value.filter(|value| !value.is_null()));
            }
            self.rows += 1;
            if self.rows == GROUP {
                self.group().map_err(as_io)?;
            }
        }
        self.rest.extend_from_slice(piece);
        Ok(())
    }

    /// Completes the file and returns its target.
    pub(super) fn finish(mut self) -> io::Result<W> {
        if self.rows > 0 {
            self.group().map_err(as_io)?;
        }
        self.file.into_inner().map_err(as_io)
    }

    fn group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.file.next_row_group()?;
        for buffer in &mut self.columns {
            let Some(mut column) = group.next_column()? else {
                break;
            };
            let definition = Some(buffer.definition.as_slice());
            let repetition = Some(buffer.repetition.as_slice());
            match &buffer.values {
                Values::Int(values) | Values::Date(values) => column
                    .typed::<Int32Type>()
                    .write_batch(values, definition, None)?,
                Values::Long(values) | Values::Instant(values) => column
                    .typed::<Int64Type>()
                    .write_batch(values, definition, None)?,
                Values::Boolean(values) => column
                    .typed::<BoolType>()
                    .write_batch(values, definition, None)?,
                Values::Text(values) | Values::Json(values) => column
                    .typed::<ByteArrayType>()
                    .write_batch(values, definition, None)?,
                Values::List(values) => column
                    .typed::<ByteArrayType>()
                    .write_batch(values, definition, repetition)?,
            };
            column.close()?;
            buffer.clear();
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }
}

impl Buffer {
    /// Types without a counterpart in Parquet become text.
    fn new(column: &Column) -> Self {
        let values = match column.kind.as_str() {
            "integer" => Values::Int(Vec::new()),
            "date" => Values::Date(Vec::new()),
            "bigint" => Values::Long(Vec::new()),
            "timestamp with time zone" => Values::Instant(Vec::new()),
            "boolean" => Values::Boolean(Vec::new()),
            "jsonb" => Values::Json(Vec::new()),
            "text[]" => Values::List(Vec::new()),
            _ => Values::Text(Vec::new()),
        };
        Self {
            name: column.name.clone(),
            values,
            definition: Vec::new(),
            repetition: Vec::new(),
        }
    }

    fn schema(&self) -> Result<TypePtr, ParquetError> {
        let (physical, logical) = match self.values {
            Values::Int(_) => (Physical::INT32, None),
            Values::Date(_) => (Physical::INT32, Some(LogicalType::Date)),
            Values::Long(_) => (Physical::INT64, None),
            Values::Instant(_) => {
                let unit = TimeUnit::MICROS;
                (Physical::INT64, Some(LogicalType::timestamp(true, unit)))
            }
            Values::Boolean(_) => (Physical::BOOLEAN, None),
            Values::Json(_) => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
            Values::Text(_) | Values::List(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let list = matches!(self.values, Values::List(_));
        let name = if list { "element" } else { &self.name };
        let value = Type::primitive_type_builder(name, physical)
            .with_logical_type(logical)
            .with_repetition(Repetition::OPTIONAL)
            .build()?;
        if !list {
            return Ok(Arc::new(value));
        }
        let elements = Type::group_type_builder("list")
            .with_repetition(Repetition::REPEATED)
            .with_fields(vec![Arc::new(value)])
            .build()?;
        let list = Type::group_type_builder(&self.name)
            .with_repetition(Repetition::OPTIONAL)
            .with_converted_type(ConvertedType::LIST)
            .with_logical_type(Some(LogicalType::List))
            .with_fields(vec![Arc::new(elements)])
            .build()?;
        Ok(Arc::new(list))
    }

    /// Takes the value of the next row. A value of another type becomes null; PostgreSQL's own JSON has none.
    fn push(&mut self, value: Option<&Value>) {
        let there = match &mut self.values {
            Values::Int(values) => keep(
                values,
                value.and_then(|value| value.as_i64()?.try_into().ok()),
            ),
            Values::Date(values) => keep(values, value.and_then(days)),
            Values::Long(values) => keep(values, value.and_then(Value::as_i64)),
            Values::Instant(values) => keep(values, value.and_then(microseconds)),
            Values::Boolean(values) => keep(values, value.and_then(Value::as_bool)),
            Values::Text(values) => {
                keep(values, value.and_then(Value::as_str).map(ByteArray::from))
            }
            Values::Json(values) => {
                let text = value.map(Value::to_string);
                keep(values, text.map(|text| ByteArray::from(text.into_bytes())))
            }
            Values::List(values) => {
                return push_list(values, &mut self.definition, &mut self.repetition, value);
            }
        };
        self.definition.push(i16::from(there));
    }

    fn clear(&mut self) {
        match &mut self.values {
            Values::Int(values) | Values::Date(values) => values.clear(),
            Values::Long(values) | Values::Instant(values) => values.clear(),
            Values::Boolean(values) => values.clear(),
            Values::Text(values) | Values::Json(values) | Values::List(values) => values.clear(),
        }
        self.definition.clear();
        self.repetition.clear();
    }
}

/// Definition levels of a list: 0 null, 1 empty, 2 an element that is null, 3 an element.
fn push_list(
    values: &mut Vec<ByteArray>,
    definition: &mut Vec<i16>,
    repetition: &mut Vec<i16>,
    value: Option<&Value>,
) {
    let elements = value.and_then(Value::as_array);
    match elements {
        None => definition.push(0),
        Some(elements) if elements.is_empty() => definition.push(1),
        Some(elements) => {
            for (at, element) in elements.iter().enumerate() {
                let there = keep(values, element.as_str().map(ByteArray::from));
                definition.push(2 + i16::from(there));
                if at > 0 {
                    repetition.push(1);
                } else {
                    repetition.push(0);
                }
            }
            return;
        }
    }
    repetition.push(0);
}

fn keep<T>(values: &mut Vec<T>, value: Option<T>) -> bool {
    let there = value.is_some();
    values.extend(value);
    there
}

/// Days since 1970.
fn days(value: &Value) -> Option<i32> {
    let date: NaiveDate = value.as_str()?.parse().ok()?;
    let days = date.signed_duration_since(NaiveDate::default()).num_days();
    days.try_into().ok()
}

/// Microseconds since 1970.
fn microseconds(value: &Value) -> Option<i64> {
    let at = DateTime::parse_from_rfc3339(value.as_str()?).ok()?;
    Some(at.timestamp_micros())
}

fn as_io(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}
