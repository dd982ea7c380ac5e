//! The header of an `.npy` file. What it claims is bounded here, and checked against the file's size in `Array`.

use std::io::Read;

// A header names its own length, which is not trusted.
const HEADER_BYTES: usize = 1 << 14;

pub(super) struct Header {
    pub descr: String,
    pub fortran: bool,
    pub dims: Vec<usize>,
    /// Of the header itself; the array's bytes follow.
    pub bytes: u64,
}

impl Header {
    pub fn read(file: &mut impl Read) -> Result<Header, String> {
        let short = |_| "it ends within its header".to_owned();
        let mut start = [0; 8];
        file.read_exact(&mut start).map_err(short)?;
        if &start[..6] != b"\x93NUMPY" {
            return Err("it does not begin like an .npy file".into());
        }
        let width = match start[6] {
            1 => 2,
            2 | 3 => 4,
            version => return Err(format!("its version {version} is unknown")),
        };
        let mut length = [0; 4];
        file.read_exact(&mut length[..width]).map_err(short)?;
        let length = u32::from_le_bytes(length) as usize;
        if HEADER_BYTES < length {
            return Err(format!("its header claims {length} bytes, but at most {HEADER_BYTES} are allowed"));
        }
        let mut text = vec![0; length];
        file.read_exact(&mut text).map_err(short)?;
        let (descr, fortran, dims) = std::str::from_utf8(&text)
            .ok()
            .and_then(|text| Literal { rest: text }.header())
            .ok_or("its header does not describe a plain array")?;
        Ok(Header { descr, fortran, dims, bytes: (8 + width + length) as u64 })
    }
}

/// The few Python literals that numpy writes. Nothing nests, so nothing recurses.
struct Literal<'a> {
    rest: &'a str,
}

impl<'a> Literal<'a> {
    fn header(mut self) -> Option<(String, bool, Vec<usize>)> {
        let (mut descr, mut fortran, mut dims) = (None, None, None);
        self.take('{')?;
        while self.take('}').is_none() {
            let key = self.string()?;
            self.take(':')?;
            match key {
                "descr" => descr = Some(self.string()?.to_owned()),
                "fortran_order" => fortran = Some(self.word()? == "True"),
                "shape" => dims = Some(self.numbers()?),
                _ => return None,
            }
            if self.take(',').is_none() && !self.rest.trim_start().starts_with('}') {
                return None;
            }
        }
        self.rest.trim().is_empty().then_some((descr?, fortran?, dims?))
    }

    fn take(&mut self, token: char) -> Option<()> {
        self.rest = self.rest.trim_start().strip_prefix(token)?;
        Some(())
    }

    fn string(&mut self) -> Option<&'a str> {
        let text = self.rest.trim_start();
        let quote = text.chars().next().filter(|&it| it == '\'' || it == '"')?;
        let (string, rest) = text[1..].split_once(quote)?;
        self.rest = rest;
        Some(string)
    }

    fn word(&mut self) -> Option<&'a str> {
        let text = self.rest.trim_start();
        let end = text.find(|it: char| !it.is_ascii_alphanumeric()).unwrap_or(text.len());
        self.rest = &text[end..];
        (0 < end).then_some(&text[..end])
    }

    fn numbers(&mut self) -> Option<Vec<usize>> {
        let mut numbers = Vec::new();
        self.take('(')?;
        while self.take(')').is_none() {
            numbers.push(self.word()?.parse().ok()?);
            if self.take(',').is_none() && !self.rest.trim_start().starts_with(')') {
                return None;
            }
        }
        Some(numbers)
    }
}
