"""CSV and TSV: every row of numbers is an input row, and a header is only what cannot be one."""

import re
from typing import Any

import pytest

from sire.errors import InvalidInput
from sire.protocol import content
from sire.protocol.content import Payload
from sire.spec import ImageOptions, Signature, TensorSpec, parse_tensor
from sired.codecs import decode, encode

ANYTHING = Signature()


def read(data: str, kind: str = content.CSV, signature: Signature = ANYTHING) -> Any:
    return decode(Payload(kind, (data.encode(),)), signature, ImageOptions()).tolist()


@pytest.mark.parametrize(
    "first",
    [
        "NA,NA",
        "na,NaN ",
        ",",
        '"",""',
        "null,None",
        "x,x",
        "nan,inf",
        "-,-",
        "?,?",
        "#N/A,#REF!",
        "TRUE,FALSE",
        "a,",
        "1,b",
        ",0",
    ],
)
def test_a_first_row_that_may_be_data_is_never_dropped(first: str) -> None:
    try:
        answer = read(f"{first}\n1,2\n3,4\n")
    except InvalidInput as problem:
        assert "Line 1" in str(problem)
    else:
        assert len(answer) == 3


@pytest.mark.parametrize("first", ["a,b", '"a","b"', "first name,größe", "_a,x1", " a , b "])
def test_a_first_row_of_names_is_a_header(first: str) -> None:
    assert read(f"{first}\n1,2\n3,4\n") == [[1, 2], [3, 4]]


@pytest.mark.parametrize("data", ["0,1\n5.5,6.5\n", "0\n1.5\n", "0\n1\n2\n", "0,1,2\n0,0,0\n"])
def test_a_first_row_that_counts_from_zero_has_to_be_explained(data: str) -> None:
    with pytest.raises(InvalidInput, match="could be the names that pandas gives") as caught:
        read(data)
    assert "--header yes" in caught.value.hint
    rows = data.count("\n")
    assert len(read(data, "text/csv; header=present")) == rows - 1
    assert len(read(data, "text/csv;header=absent")) == rows


def test_a_single_row_that_counts_from_zero_is_a_row() -> None:
    assert read("0,1\n") == [[0, 1]]
    assert read("0\n") == [[0]]


def test_what_is_said_of_the_header_holds() -> None:
    assert read("NA\n1\n", "text/csv; header=present") == [[1]]
    with pytest.raises(InvalidInput, match="Line 1, column 1"):
        read("a\n1\n", "Text/CSV; Header=absent")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("1,2\nNA,3\n", "Line 2, column 1 of the CSV input is not a number: 'NA'"),
        ("1_000,2\n", "Line 1, column 1 of the CSV input is not a number: '1_000'"),
        ("1,0x10\n", "Line 1, column 2"),
        ("1,\u0661\n", "Line 1, column 2"),
        ("1,2 3\n", "Line 1, column 2"),
        ("1\n\n3\n", "Line 2 of the CSV input is empty"),
        ('1\n""\n3\n', "Line 2, column 1 of the CSV input is not a number: ''"),
        ("1,5;2,5\n", "Line 1, column 2 of the CSV input is not a number: '5;2'"),
        ("a,b\n", "no row of values"),
        ("inf,1\n2.5,-1e400\n", "Line 2, column 2 of the CSV input is a number beyond ±1.8e+308"),
    ],
)
def test_what_is_not_a_number_is_named_by_its_place(data: str, expected: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(expected)):
        read(data)


def test_empty_lines_around_rows_are_none() -> None:
    assert read("\n\n1\n2\n\n\n") == [[1], [2]]
    assert read("1,2\n\n3,4\n") == [[1, 2], [3, 4]]


def test_numbers_are_read_as_programs_write_them() -> None:
    assert read('+1,"2", 3 ,.5,5.,1e3,-1E-3,-0\n') == [[1, 2, 3, 0.5, 5, 1000, -0.001, 0]]
    values = read("nan,-inf,Infinity,1\n")[0]
    assert values[1:] == [float("-inf"), float("inf"), 1]
    assert values[0] != values[0]


@pytest.mark.parametrize("mark", ["\t", ";"])
def test_other_marks_than_commas_divide_columns(mark: Any) -> None:
    assert read(f"1{mark}2\n3{mark}4\n") == [[1, 2], [3, 4]]
    assert read(f"a{mark}b\n1{mark}2\n") == [[1, 2]]
    assert read(f"1{mark}2\n") == [[1, 2]]


def test_tab_separated_values_have_a_type_of_their_own() -> None:
    assert read("1\t2\n3\t4\n", content.TSV) == [[1, 2], [3, 4]]
    with pytest.raises(InvalidInput, match="of the TSV input is not a number: '1,2'"):
        read("1,2\n", content.TSV)
    answer = encode([[1, 2], [3, 4]], content.TSV)
    assert answer.content_type == content.TSV
    assert answer.frames[0] == b"1\t2\n3\t4\n"


def test_a_row_or_a_column_fits_a_model_of_one_axis() -> None:
    one_axis = Signature((TensorSpec("x", "float32", (-1,)),))
    assert read("1,2,3\n", signature=one_axis) == [1, 2, 3]
    assert read("1\n2\n3\n", signature=one_axis) == [1, 2, 3]
    assert read("1\t2\t3\n", content.TSV, one_axis) == [1, 2, 3]
    assert read("5\n", signature=Signature((TensorSpec("x", "float32", ()),))) == 5
    with pytest.raises(InvalidInput, match=r"float32\[N\]"):
        read("1,2\n3,4\n", signature=one_axis)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_byte_order_marks_are_no_part_of_the_input(encoding: Any) -> None:
    mark = "" if encoding in {"utf-8-sig", "utf-16"} else "\ufeff"

    def marked(kind: str, text: str) -> Any:
        data = (mark + text).encode(encoding)
        return decode(Payload(kind, (data,)), Signature(), ImageOptions())

    assert marked(content.CSV, "1,2\n").tolist() == [[1, 2]]
    assert marked(content.TEXT, "grüß dich\n") == "grüß dich"
    assert marked(content.JSON, "[1.5]").tolist() == [1.5]
    assert content.sniff((mark + ' {"a": 1}').encode(encoding)[:16]) == content.JSON


def table(data: str, *inputs: str, header: str = "") -> Any:
    kind = f"{content.CSV}; header={header}" if header else content.CSV
    signature = Signature(tuple(map(parse_tensor, inputs)))
    given = decode(Payload(kind, (data.encode(),)), signature, ImageOptions())
    if isinstance(given, dict):
        return {name: value.tolist() for name, value in given.items()}
    return given.tolist()


CITIES = ("city:string[-1,1]", "price:float32[-1]")


@pytest.mark.parametrize(
    "data",
    [
        "city,price\nNew York,1.5\n007,2\n",
        "price,city\n1.5,New York\n2,007\n",
        "New York,1.5\n007,2\n",
        "New York;1.5\n007;2\n",
        '"New York",1.5\n"007",2\n',
    ],
)
def test_each_column_is_an_input(data: str) -> None:
    assert table(data, *CITIES) == {"city": [["New York"], ["007"]], "price": [1.5, 2]}


def test_columns_may_have_constants_and_defaults() -> None:
    inputs = ("x:float32[-1,1]", "ids:int64[-1]", "gain:float32[1]=3")
    assert table("1.5,7\n2,8\n", *inputs) == {"x": [[1.5], [2]], "ids": [7, 8], "gain": [3]}
    assert table("gain,ids,x\n5,7,1\n", *inputs) == {"x": [[1]], "ids": [7], "gain": [5]}
    assert table("gain,x\n5,7\n", "x:float32[-1]", "gain:float32[1]=3") == {"gain": [5], "x": [7]}


def test_a_table_of_texts_is_as_the_model_takes_it() -> None:
    assert table('x\nParis\n""\nLe Havre \n', "x:string[-1,1]") == [["Paris"], [""], ["Le Havre "]]
    assert table("1\n2.50\n", "string[-1]") == ["1", "2.50"]
    assert table("Paris\n", "string[-1]") == ["Paris"]
    assert table("Paris,Lyon\n", "string[-1,2]") == [["Paris", "Lyon"]]
    for header, rows in (("absent", [["a", "b"], ["c", "d"]]), ("present", [["c", "d"]])):
        assert table("a,b\nc,d\n", "string[-1,2]", header=header) == rows


@pytest.mark.parametrize(
    ("data", "inputs", "expected"),
    [
        ("a\nb\n", ("x:string[-1]",), "The first line of the CSV input, 'a', could be names"),
        ("a,b\nc,d\n", ("x:string[-1]", "y:string[-1]"), "could be names of columns, or texts"),
        ("town,price\nParis,1\n", CITIES, "has a column 'town', which is not an input"),
        ("Paris,cheap\nLyon,2\n", CITIES, "has a column 'Paris', which is not an input"),
        ("Paris,1\nLyon,cheap\n", CITIES, "Line 2, column 2 of the CSV input is not a number"),
        ("Paris,1\nLyon\n", CITIES, "Line 2 of the CSV input has 1 columns, not 2"),
        ("1,2,3\n", CITIES, "has 3 columns; the model takes 2 inputs, a column each: city, price"),
        ("1\n", CITIES, "has 1 column; the model"),
        ("city,price\n", CITIES, "no row of values"),
        ("1,2\n", ("x:float32[-1,3]", "y:float32[-1]"), "the input x is float32[N, 3]"),
        ("1,2.5\n", ("x:float32[-1]", "y:int64[-1]"), "'y' has 2.5, which is not a whole number"),
    ],
)
def test_a_table_that_does_not_fit_the_inputs_says_why(
    data: str, inputs: tuple[str, ...], expected: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        table(data, *inputs)
    assert expected in str(caught.value)


def test_a_column_that_is_missing_is_named() -> None:
    with pytest.raises(InvalidInput, match="has no column price; the model takes city string"):
        table("city\nParis\n", *CITIES, header="present")
