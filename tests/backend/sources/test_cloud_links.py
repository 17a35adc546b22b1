from pathlib import Path

import pytest

from backend.settings import CLOUDS as NAMES
from backend.sources.cloud_links import CLOUDS, cloud_of, is_presigned
from backend.sources.web_url import WebUrl

V4 = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20261121%2Feu-central-1%2Fs3%2Faws4_request"
    "&X-Amz-Date=20261121T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=abc"
)
V2 = "AWSAccessKeyId=AKIA&Signature=a%2Fb%3D&Expires=1795200099"
GOOG = V4.replace("X-Amz", "X-Goog")
GOOG_V2 = "GoogleAccessId=a%40b.iam.gserviceaccount.com&Expires=1795200099&Signature=a%2Fb%3D"
SAS = "se=2026-11-21T00%3A00%3A00Z&sp=r&sv=2025-05-05&sr=b&sig=a%2Fb%3D"


def allowed(text: str) -> str | None:
    url = WebUrl.parse(text)
    cloud = cloud_of(url, NAMES)
    return cloud if cloud and is_presigned(url, cloud) else None


# By boto3 1.44.5, azure-storage-blob 12.31.1 and google-cloud-storage 3.17.1, the libraries of Label Studio 1.23.2, and
# keys that were made up: S3 with either kind of address, in several regions and partitions, dualstack, FIPS,
# accelerated, by an access point.
MADE = (Path(__file__).parent / "presigned_links.txt").read_text("ascii").splitlines()


@pytest.mark.parametrize("line", MADE, ids=[line.partition("?")[0] for line in MADE])
def test_the_links_that_the_libraries_of_label_studio_make_are_known(line: str) -> None:
    cloud, _, url = line.partition(" ")
    assert allowed(url) == cloud


def test_the_settings_name_the_same_clouds() -> None:
    assert tuple(CLOUDS) == NAMES


@pytest.mark.parametrize(
    "host",
    [
        "bucket.s3.amazonaws.com",
        "my.dotted.bucket.s3.eu-central-1.amazonaws.com",
        "s3.amazonaws.com",
        "s3.eu-central-1.amazonaws.com",
        "s3-us-west-2.amazonaws.com",
        "bucket.s3-us-west-2.amazonaws.com",
        "bucket.s3-external-1.amazonaws.com",
        "bucket.s3.dualstack.ap-southeast-2.amazonaws.com",
        "s3.dualstack.us-east-1.amazonaws.com",
        "bucket.s3-accelerate.amazonaws.com",
        "bucket.s3-accelerate.dualstack.amazonaws.com",
        "bucket.s3-fips.us-gov-west-1.amazonaws.com",
        "points-123456789012.s3-accesspoint.us-east-1.amazonaws.com",
        "bucket.s3.cn-north-1.amazonaws.com.cn",
        "s3.cn-northwest-1.amazonaws.com.cn",
        "s3.dualstack.cn-north-1.amazonaws.com.cn",
    ],
)
def test_presigned_links_of_s3_are_known(host: str) -> None:
    assert allowed(f"https://{host}/images/a.png?{V4}") == "s3"
    assert allowed(f"https://{host}/images/a.png?{V2}") == "s3"


@pytest.mark.parametrize(
    "host",
    [
        "ec2-1-2-3-4.compute-1.amazonaws.com",
        "ec2-1-2-3-4.eu-central-1.compute.amazonaws.com",
        "lb-123.us-east-1.elb.amazonaws.com",
        "abc.execute-api.us-east-1.amazonaws.com",
        "bucket.s3-website-us-east-1.amazonaws.com",
        "bucket.s3-website.eu-central-1.amazonaws.com",
        "s3.evil.amazonaws.com",
        "s3.amazonaws.com.evil.example",
        "evil-s3.amazonaws.com",
        "bucket.s3.us-east-1.amazonaws.com.cn",
        "bucket.s3.cn-north-1.amazonaws.com.evil.cn",
        "bucket.s3.eu-central-1.amazonaws.eu",
        "ec2.eusc-de-east-1.amazonaws.eu",
        "s3.us-east-1.elb.amazonaws.com",
        "amazonaws.com",
    ],
)
def test_other_hosts_of_amazon_are_not(host: str) -> None:
    assert cloud_of(WebUrl.parse(f"https://{host}/a.png?{V4}"), NAMES) is None


@pytest.mark.parametrize(
    ("url", "cloud"),
    [
        (f"https://storage.googleapis.com/bucket/a.png?{GOOG}", "gs"),
        (f"https://bucket.storage.googleapis.com/a.png?{GOOG}", "gs"),
        (f"https://storage.googleapis.com/bucket/a.png?{GOOG_V2}", "gs"),
        (f"https://storage.googleapis.com/bucket/a.png?{V4}", "gs"),
        (f"https://account1.blob.core.windows.net/container/a.png?{SAS}", "azure-blob"),
        (f"https://account1-secondary.blob.core.windows.net/container/a.png?{SAS}", "azure-blob"),
        (f"https://account1.blob.core.chinacloudapi.cn/container/a.png?{SAS}", "azure-blob"),
        (f"https://account1.blob.core.usgovcloudapi.net/container/a.png?{SAS}", "azure-blob"),
        (f"https://account1.z01.blob.storage.azure.net/container/a.png?{SAS}", "azure-blob"),
        (f"https://run.googleapis.com/a.png?{GOOG}", None),
        (f"https://bucket.appspot.com/a.png?{GOOG}", None),
        (f"https://account1.web.core.windows.net/a.png?{SAS}", None),
        (f"https://account1.cloudapp.windows.net/a.png?{SAS}", None),
        (f"https://x.account1.blob.core.windows.net/a.png?{SAS}", None),
    ],
)
def test_links_of_google_and_azure_are_known(url: str, cloud: str | None) -> None:
    assert allowed(url) == cloud


@pytest.mark.parametrize(
    "url",
    [
        "https://bucket.s3.amazonaws.com/a.png",
        "https://bucket.s3.amazonaws.com/a.png?X-Amz-Signature=abc",
        f"https://bucket.s3.amazonaws.com/a.png?{V4.replace('Signature=abc', 'Signature=')}",
        f"https://bucket.s3.amazonaws.com/a.png?{SAS}",
        f"http://bucket.s3.amazonaws.com/a.png?{V4}",
        f"https://bucket.s3.amazonaws.com:8443/a.png?{V4}",
        f"https://account1.blob.core.windows.net/container/a.png?{V4}",
    ],
)
def test_a_link_without_its_signature_or_https_is_none(url: str) -> None:
    assert cloud_of(WebUrl.parse(url), NAMES) is not None
    assert allowed(url) is None


def test_a_cloud_that_is_not_in_use_is_not_known() -> None:
    assert cloud_of(WebUrl.parse(f"https://bucket.s3.amazonaws.com/a.png?{V4}"), ("gs",)) is None
