import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

import backend
from backend.errors import SettingsError
from backend.settings import ServerSettings, Settings, settings_table


def test_defaults_need_no_environment() -> None:
    settings = Settings.from_environment({})
    assert settings == Settings()
    assert settings.server.host == "127.0.0.1"
    assert settings.bank_dir == settings.data_dir / "bank"


def test_the_bank_may_be_a_folder_or_an_address_of_its_own() -> None:
    assert Settings.from_environment({"OVDIFF_BANK": "/some/bank"}).bank_dir == Path("/some/bank")
    there = Settings.from_environment({"OVDIFF_BANK": "s3://bucket/bank", "OVDIFF_STORAGE_PATIENCE_S": "7"}).bank_dir
    assert str(there) == "s3://bucket/bank" and there.patience_s == 7.0  # type: ignore[attr-defined]


def test_values_are_parsed_by_their_type() -> None:
    settings = Settings.from_environment(
        {
            "OVDIFF_DATA_DIR": "/some/where",
            "OVDIFF_PORT": "9191",
            "OVDIFF_IMAGE_TIMEOUT_S": "2.5",
            "OVDIFF_IMAGE_HOSTS": "Images.example.org, *.example.com",
            "OVDIFF_PRIVATE_IMAGE_HOSTS": "MinIO.local:9000, [fd00::1]:443",
            "OVDIFF_CLOUD_LINKS": "s3",
            "OVDIFF_ALLOW_ANONYMOUS": "yes",
            "LABEL_STUDIO_URL": "https://labels.example.org/studio",
            "LABEL_STUDIO_API_KEY": "secret-token",
        }
    )
    assert settings.data_dir == Path("/some/where")
    assert settings.server.port == 9191
    assert settings.images.image_timeout_s == 2.5
    assert settings.images.image_hosts == ("images.example.org", "*.example.com")
    assert settings.images.private_image_hosts == ("minio.local:9000", "[fd00::1]:443")
    assert settings.images.cloud_links == ("s3",)
    assert settings.server.allow_anonymous is True
    assert settings.label_studio.url == "https://labels.example.org/studio"


def test_people_may_have_another_address_of_label_studio_than_the_service() -> None:
    inside = {"LABEL_STUDIO_URL": "http://label-studio:8080/"}
    assert Settings.from_environment(inside).label_studio.url_for_people == "http://label-studio:8080"
    both = inside | {"LABEL_STUDIO_PUBLIC_URL": "https://labels.example.org/studio/"}
    assert Settings.from_environment(both).label_studio.url_for_people == "https://labels.example.org/studio"


def test_variables_of_others_are_left_alone() -> None:
    assert Settings.from_environment({"PATH": "/bin", "LABEL_STUDIO_HOST": "x"}) == Settings()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"OVDIFF_PROT": "1"}, "OVDIFF_PROT is not a setting. Did you mean OVDIFF_PORT?"),
        (
            {"OVDIFF_DATA_DIR": "s3://b"},
            "OVDIFF_DATA_DIR=s3:/b is an address, and the state file in it must be",
        ),
        ({"OVDIFF_BANK": "s3://ann:pw@b"}, "OVDIFF_BANK: s3://...@b holds a user or a password. Leave them out"),
        ({"OVDIFF_STORAGE_PATIENCE_S": "-1"}, "OVDIFF_STORAGE_PATIENCE_S=-1.0 is outside 0.0 to 3600.0."),
        ({"OVDIFF_PORT": "many"}, "OVDIFF_PORT='many' is not a number as expected (int)."),
        ({"OVDIFF_PORT": "70000"}, "OVDIFF_PORT=70000 is outside 0 to 65535."),
        ({"OVDIFF_ALLOW_ANONYMOUS": "perhaps"}, "OVDIFF_ALLOW_ANONYMOUS='perhaps' is neither yes nor no."),
        ({"OVDIFF_BASIC_USER": "ann"}, "OVDIFF_BASIC_USER and OVDIFF_BASIC_PASSWORD go together"),
        ({"OVDIFF_HOST": "0.0.0.0"}, "OVDIFF_HOST='0.0.0.0' listens to the network without a password."),
        ({"OVDIFF_LOG_LEVEL": "LOUD"}, "OVDIFF_LOG_LEVEL='LOUD' is none of DEBUG"),
        ({"LABEL_STUDIO_URL": "localhost:8080"}, "LABEL_STUDIO_URL='localhost:8080' is not a URL"),
        ({"OVDIFF_WAIT_FOR_PROTOTYPES_S": "96"}, "leaves no time to predict within OVDIFF_ANSWER_WITHIN_S=95"),
        ({"OVDIFF_MIN_SCORE": "1.5"}, "OVDIFF_MIN_SCORE=1.5 is outside 0 to 1."),
        ({"OVDIFF_REGIONS_PER": "objects"}, "OVDIFF_REGIONS_PER='objects' is neither 'category' nor 'object'."),
        ({"OVDIFF_MIN_SCORE": "nan"}, "OVDIFF_MIN_SCORE=nan is outside 0 to 1."),
        ({"OVDIFF_THREADS": "7"}, "OVDIFF_THREADS=7 is outside 8 to 1024"),
        ({"OVDIFF_RETRY_FAILED_AFTER_S": "0"}, "OVDIFF_RETRY_FAILED_AFTER_S=0.0 is outside 0.1 to 86400"),
        ({"LABEL_STUDIO_URL": "http://[::1"}, "LABEL_STUDIO_URL='http://[::1' is not a URL"),
        ({"LABEL_STUDIO_PUBLIC_URL": "labels"}, "LABEL_STUDIO_PUBLIC_URL='labels' is not a URL"),
        ({"LABEL_STUDIO_URL": "http://ann:hush@ls"}, "LABEL_STUDIO_URL holds a user or a password before 'ls'. Leave"),
        (
            {"OVDIFF_PRIVATE_IMAGE_HOSTS": "minio.local"},
            "OVDIFF_PRIVATE_IMAGE_HOSTS: 'minio.local' is no host with its port. Write, for example, minio.local:9000",
        ),
        ({"OVDIFF_PRIVATE_IMAGE_HOSTS": "http://minio.local:9000"}, "Write, for example, minio.local:9000 with"),
        ({"OVDIFF_PRIVATE_IMAGE_HOSTS": "http://minio.local/bucket"}, "Write, for example, minio.local:9000 with"),
        ({"OVDIFF_PRIVATE_IMAGE_HOSTS": "fd00::1"}, "Write, for example, [fd00::1]:9000 with"),
        ({"OVDIFF_PRIVATE_IMAGE_HOSTS": "minio.local:99999"}, "=99999 is outside 1 to 65535."),
        ({"OVDIFF_IMAGE_HOSTS": "https://images.example.org"}, "'https://images.example.org' is no host name. Write"),
        ({"OVDIFF_IMAGE_HOSTS": "*"}, "'*' is no host name. Write the name alone, such as images.example.org, or *.ex"),
        ({"OVDIFF_CLOUD_LINKS": "s3, gcs"}, "OVDIFF_CLOUD_LINKS: 'gcs' is none of s3, gs, azure-blob."),
        ({"OVDIFF_IMAGE_MAX_PX": "1000000000"}, "OVDIFF_IMAGE_MAX_PX=1000000000 is outside 1 to 100000000."),
    ],
)
def test_mistakes_are_named(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(environment)
    assert message in str(caught.value)


def test_the_network_is_allowed_with_a_password() -> None:
    assert ServerSettings(host="0.0.0.0", basic_user="ann", basic_password="secret").requires_password


def test_secrets_are_not_shown() -> None:
    environment = {
        "OVDIFF_BASIC_USER": "ann",
        "OVDIFF_BASIC_PASSWORD": "hush-password",
        "LABEL_STUDIO_API_KEY": "hush-token",
    }
    assert "hush" not in repr(Settings.from_environment(environment))


def test_a_secret_may_be_in_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("hush-token\n")
    settings = Settings.from_environment({"LABEL_STUDIO_API_KEY_FILE": str(secret)})
    assert settings.label_studio.api_key == "hush-token"
    user = {"OVDIFF_BASIC_USER": "ann", "OVDIFF_BASIC_PASSWORD": "", "OVDIFF_BASIC_PASSWORD_FILE": str(secret)}
    assert Settings.from_environment(user).server.basic_password == "hush-token"
    assert Settings.from_environment({"LABEL_STUDIO_API_KEY_FILE": " "}) == Settings()


def test_a_secrets_file_that_holds_none_is_named_and_not_shown(tmp_path: Path) -> None:
    def refused(content: bytes | None, **more: str) -> str:
        file = tmp_path / "file"
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(SettingsError) as caught:
            Settings.from_environment({"LABEL_STUDIO_API_KEY_FILE": str(file), **more})
        assert "hush" not in str(caught.value)
        return str(caught.value).replace(str(file), "FILE")

    assert refused(None).startswith("LABEL_STUDIO_API_KEY_FILE='FILE' cannot be read: [Errno 2] No such file")
    assert refused(b" \n") == "LABEL_STUDIO_API_KEY_FILE='FILE' is empty; it should hold the secret alone."
    assert "'FILE' is longer than 65536 bytes; it should hold" in refused(b"hush" * 20_000)
    assert "'FILE' cannot be read: 'utf-8' codec" in refused(b"hush\xff")
    both = refused(b"hush", LABEL_STUDIO_API_KEY="hush")
    assert both == "LABEL_STUDIO_API_KEY and LABEL_STUDIO_API_KEY_FILE are both set; set one of them."


def test_only_secrets_are_read_from_files() -> None:
    with pytest.raises(SettingsError, match="OVDIFF_PORT_FILE is not a setting"):
        Settings.from_environment({"OVDIFF_PORT_FILE": "/dev/null"})


def test_every_setting_is_in_the_table_with_unit_and_reason() -> None:
    rows = [line.strip("|").split("|") for line in settings_table().splitlines()[2:]]
    variables = [row[0].strip(" `") for row in rows]
    groups = [group for group in Settings.__annotations__ if is_dataclass(getattr(Settings(), group))]
    count = len(fields(Settings)) - len(groups) + sum(len(fields(getattr(Settings(), group))) for group in groups)
    assert len(variables) == len(set(variables)) == count
    assert all(cell.strip() for row in rows for cell in (row[2], row[3]))


def test_output_settings_have_a_fingerprint() -> None:
    changed = Settings.from_environment({"OVDIFF_MIN_PART_PX": "17"})
    assert changed.output.fingerprint() != Settings().output.fingerprint() == Settings().output.fingerprint()


def test_the_version_is_that_of_the_distribution() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert backend.__version__ == project["version"]


def test_the_last_task_ends_before_label_studio_gives_up() -> None:
    label_studio_waits_s = 100.0  # ML_TIMEOUT_PREDICT of 1.23.2
    assert Settings().prediction.answer_within_s < label_studio_waits_s


@pytest.mark.parametrize("threads", [8, 9, 80, 1024])
def test_predictions_clicks_and_pages_leave_threads_for_health(threads: int) -> None:
    server = ServerSettings(threads=threads)
    shares = server.prediction_requests, server.click_requests, server.page_requests
    assert min(shares) >= 1
    assert sum(shares) < threads


def test_fifty_people_who_open_a_task_at_once_all_have_a_thread() -> None:
    assert Settings().server.prediction_requests >= 50
