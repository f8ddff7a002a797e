"""Private data is redacted in every spelling and position."""

import re
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from img2vid import paths
from img2vid.doctor import redaction
from img2vid.doctor.redaction import Redaction, of_this_computer

PATIENT = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
"""No deadline: a busy machine is slow."""

NAME = st.text(string.ascii_letters + string.digits + "äöüñ中é", min_size=3, max_size=12).filter(
    lambda name: name.lower() not in redaction.KNOWN_USERS
)
FOLDER = st.lists(
    st.text(string.ascii_letters + string.digits + " -_.äß", min_size=1, max_size=10)
    .map(lambda name: name.strip(" ."))
    .filter(lambda name: name not in ("", *redaction.HARMLESS)),
    min_size=1,
    max_size=4,
)
SECRET = st.text(string.ascii_letters + string.digits, min_size=16, max_size=40)
AROUND = st.sampled_from(
    [("", ""), ("'", "'"), ("(", ")"), ('File "', '", line 3, in load'), ("could not read ", "; no")]
)
PLACEHOLDERS = ("<user>", "<host>", "<path>", "<home>", "<project>", "<secret>", "<token>", "<server>", "<address>")


def bare(text: str) -> str:
    """Return the text without placeholders."""
    for words in PLACEHOLDERS:
        text = text.replace(words, "")
    return text


@PATIENT
@given(name=NAME, around=AROUND, mark=st.sampled_from([" ", "/", "_", "-", ".", "@", ":"]))
def test_a_users_and_a_hosts_name_never_get_through(name: str, around: tuple[str, str], mark: str) -> None:
    hide = Redaction(words={name: "<user>"})
    for spelled in (name, name.upper(), name.lower()):
        if len(spelled) == len(name):  # some letters have no uppercase form
            text = f"x{mark}{around[0]}{spelled}{around[1]}{mark}y"
            assert spelled not in bare(hide(text)).replace(around[0], "").replace(around[1], "")


@PATIENT
@given(parts=FOLDER, root=st.sampled_from(["/home/anna", "/mnt", "/Users/anna", "/media/x"]), around=AROUND)
@example(parts=["My new  folder", "secret"], root="/home/anna", around=("", ""))
def test_no_private_folder_gets_through(parts: list[str], root: str, around: tuple[str, str]) -> None:
    path = "/".join([root, *parts])
    quoted = around[0][-1:] in ("'", '"') and bool(around[0])
    redacted = Redaction()(f"{around[0]}{path}{around[1]}")
    # An unquoted path that ends in a name with spaces is ambiguous.
    last = parts[-1] if quoted else parts[-1].split(" ")[0]
    private = ["anna" if "anna" in root else "", *parts[:-1], last]
    rest = bare(redacted).replace(around[0], "").replace(around[1], "")
    assert "<path>" in redacted
    assert not [part for part in private if len(part) > 2 and part in rest], redacted


@PATIENT
@given(parts=FOLDER)
def test_no_folder_of_windows_gets_through(parts: list[str]) -> None:
    for path in ("\\".join(["C:\\Users\\Anna", *parts]), "\\\\nas\\" + "\\".join(parts), "D:/" + "/".join(parts)):
        redacted = Redaction()(f"cannot write '{path}', repr {path!r}")
        assert "Anna" not in redacted and "nas" not in bare(redacted)
        assert not [
            part
            for part in parts
            if len(part) > 2 and part in bare(redacted).replace("cannot write", "").replace("repr", "")
        ]


@pytest.mark.parametrize("quote", ["", "'", '"'])
@pytest.mark.parametrize(
    "path",
    [
        r"C:\Users\Anna\img2vid\a.mp4",
        r"C:\Users/Anna\img2vid/a.mp4",
        r"C:\\Users\\Anna\\a.mp4",
        r"\\?\C:\Users\Anna\a.mp4",
        r"\\?\UNC\Anna\share\a.mp4",
        r"\\Anna\share\a.mp4",
        "//Anna/share/a.mp4",
        r"//Anna\share/a.mp4",
        r"\Users\Anna\a.mp4",
        "~Anna\\a.mp4",
        "file:///C:/Users/Anna/a.mp4",
    ],
)
def test_no_spelling_of_a_windows_path_gets_through(path: str, quote: str) -> None:
    assert "Anna" not in Redaction()(f"cannot read {quote}{path}{quote}; choose another file")


def test_known_windows_folders_are_recognized_with_any_slashes() -> None:
    hide = Redaction({r"D:\img2vid": "<project>", r"D:\img2vid\outputs": "<home>", r"E:\weights": "<checkpoints 1>"})
    assert hide(r"D:\img2vid/outputs\svd/a.mp4, D:/img2vid\img2vid/cli, 'E:\\weights\\svd.safetensors'") == (
        r"<home>\svd/a.mp4, <project>\img2vid/cli, '<checkpoints 1>\\svd.safetensors'"
    )


@PATIENT
@given(secret=SECRET)
def test_no_token_and_no_password_gets_through(secret: str) -> None:
    hide = Redaction(secrets=[])
    for text in (
        f"hf_{secret}",
        f"HF_TOKEN=hf_{secret}",
        f"Authorization: Bearer {secret}",
        f"token={secret}&x=1",
        f"password: '{secret}'",
        f'{{"api_key": "{secret}"}}',
        f"http://anna:{secret}@proxy.example.com:3128",
        f"http://{secret}@proxy.example.com",
        f"tcp://{secret}:8786",
        f"https://huggingface.co/a/b?Signature={secret}",
        f"https://cdn.example.org/{secret}/x.safetensors",
    ):
        assert secret not in hide(text), text


@PATIENT
@given(secret=st.text(min_size=4, max_size=30).filter(lambda text: not {"\ue000", "\ue001"} & {*text}), text=st.text())
def test_a_value_that_is_known_to_be_secret_never_gets_through(secret: str, text: str) -> None:
    redacted = Redaction(secrets=[secret])(f"{text} {secret} {text}{secret}")
    assert secret not in re.sub("<[a-z]+>", "\ue000", redacted)


@PATIENT
@given(octets=st.lists(st.integers(0, 255), min_size=4, max_size=4).filter(lambda four: four[0] != 127))
def test_no_address_gets_through(octets: list[int]) -> None:
    address = ".".join(map(str, octets))
    assert address not in Redaction()(f"connection to {address}:8786 and {address} failed")


def test_mail_addresses_do_not_get_through() -> None:
    assert Redaction()("mail anna.b@example.org now") == "mail <address> now"


@PATIENT
@given(text=st.text(string.ascii_letters + " .,:;()'\n", max_size=200))
def test_plain_words_stay_as_they_are(text: str) -> None:
    assert Redaction()(text) == text or "secret" in text.lower() or "token" in text.lower() or ":" in text


@pytest.mark.parametrize(
    "text",
    [
        "out of memory while decoding, with decode_t 14; set it to 7",
        "torch==2.7.1+cu118 opencv-python-headless==5.0.0.93",
        "get it at https://www.nvidia.com/drivers or https://huggingface.co/stabilityai/x",
        'File "/usr/lib/python3.11/asyncio/runners.py", line 190, in run',
        "tls://127.0.0.1:4000 of http://localhost:8501",
        "and/or, 3/4, 1024 x 576, 14/25",
        "driver 580.95.05",
    ],
)
def test_useful_facts_are_kept(text: str) -> None:
    assert Redaction()(text) == text


def test_known_folders_keep_their_meaning() -> None:
    hide = Redaction({"/mnt/Anna B/outputs": "<home>", "/mnt/Anna B": "<project>"})
    assert (
        hide("'/mnt/Anna B/outputs/svd/a.mp4' /mnt/Anna B/img2vid/cli/main.py")
        == "'<home>/svd/a.mp4' <project>/img2vid/cli/main.py"
    )
    assert "Anna" not in hide("/mnt/Anna B2/outputs")


def test_where_packages_are_is_hidden_and_their_names_are_not() -> None:
    text = Redaction()('File "/opt/x/../home/anna/.venv/lib/python3.11/site-packages/torch/nn/x.py", line 2')
    assert text == 'File "<python>/site-packages/torch/nn/x.py", line 2'


def test_this_computer_hides_its_user_host_folders_and_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/annabel"))
    monkeypatch.setattr("socket.gethostname", lambda: "annas-tower.example.org")
    monkeypatch.setenv("IMG2VID_HOME", str(tmp_path / "my videos"))
    monkeypatch.setenv("IMG2VID_CHECKPOINTS", str(tmp_path / "weights"))
    environment = {"HF_TOKEN": "abcdefgh", "MY_API_KEY": "k3y-k3y", "LOGNAME": "bob", "PATH": "/usr/bin"}
    hide = of_this_computer(words={"holiday": "<picture>"}, environment=environment)
    text = (
        f"{paths.home()}/svd/holiday_svd.mp4 {tmp_path}/weights/x.safetensors {paths.PROJECT}/img2vid/cli/main.py "
        "/home/annabel/notes bob annabel annas-tower annas-tower.example.org abcdefgh k3y-k3y"
    )
    assert hide(text) == (
        "<home>/svd/<picture>_svd.mp4 <checkpoints 1>/x.safetensors <project>/img2vid/cli/main.py "
        "<path> <user> <user> <host> <host> <secret> <secret>"
    )
