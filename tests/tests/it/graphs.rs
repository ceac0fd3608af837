//! Graphs of active models, as SeaORM's second entity format saves and deletes them: what becomes of the rows below.

use audit_seaorm::entity::audit_log;
use audit_tests::{TestDb, db_test};
use sea_orm::{ActiveHasMany, ConnectionTrait, EntityTrait, Set, TransactionTrait};
use serde_json::json;

use crate::connection::connect;
use crate::fixtures::{blog, changes, create_table, crew, entries};

async fn create_blog(t: &TestDb) {
    create_table(t, blog::author::Entity).await;
    create_table(t, blog::post::Entity).await;
    create_table(t, blog::tag::Entity).await;
    create_table(t, blog::post_tag::Entity).await;
}

/// What each entry is of, in their order.
fn kinds(all: &[audit_log::Model]) -> Vec<String> {
    all.iter()
        .map(|e| format!("{} {} {}", e.action, e.resource_type, e.resource_id.as_deref().unwrap()))
        .collect()
}

fn sorted(mut kinds: Vec<String>) -> Vec<String> {
    kinds.sort();
    kinds
}

db_test!(c2_graphs_of_active_models_and_junctions_are_recorded, async |t| {
    create_blog(t).await;
    let author = blog::author::ActiveModel::builder()
        .set_name("Ann")
        .add_post(
            blog::post::ActiveModel::builder()
                .set_title("First")
                .add_tag(blog::tag::ActiveModel::builder().set_name("rust"))
                .add_tag(blog::tag::ActiveModel::builder().set_name("sql")),
        )
        .save(&t.db)
        .await
        .unwrap();
    let all = entries(t).await;
    assert_eq!(
        sorted(kinds(&all)),
        [
            "create author 1",
            "create post 1",
            "create post_tag 1/1",
            "create post_tag 1/2",
            "create tag 1",
            "create tag 2"
        ]
    );
    let post = all.iter().find(|entry| entry.resource_type == "post").unwrap();
    assert_eq!(changes(post)["headline"], json!({"new": "First"}), "renamed");
    assert_eq!(post.resource_name.as_deref(), Some("First"));

    // Replacing the tags deletes one link and makes another.
    let mut author = author;
    let post = &mut author.posts.as_mut_vec()[0];
    let kept = post.tags.as_slice()[0].clone();
    post.tags =
        sea_orm::ActiveHasMany::Replace(vec![kept, blog::tag::ActiveModel::builder().set_name("audit")]);
    author.save(&t.db).await.unwrap();
    assert_eq!(
        sorted(kinds(&entries(t).await[6..])),
        ["create post_tag 1/3", "create tag 3", "delete post_tag 1/2"]
    );
});

/// An author with two posts, who changes the title of one, lets one go, and goes.
async fn blogging<C: ConnectionTrait + TransactionTrait>(db: &C) {
    let new_post = |title: &str| blog::post::ActiveModel::builder().set_title(title);
    let first = new_post("First").add_tag(blog::tag::ActiveModel::builder().set_name("rust"));
    let author = blog::author::ActiveModel::builder().set_name("Ann").add_post(first);
    let mut author = author.add_post(new_post("Second")).save(db).await.unwrap();

    // A child is changed through its parent, which isn't changed itself.
    author.posts.as_mut_vec()[1].title = Set("Second, revised".into());
    let mut author = author.save(db).await.unwrap();

    // The list is replaced by one in which the first post is missing, and another one is new.
    let kept = author.posts.as_slice()[1].clone();
    author.posts = ActiveHasMany::Replace(vec![kept, new_post("Third")]);
    let mut author = author.save(db).await.unwrap();

    // An empty list adds nothing, and takes nothing away unless it replaces.
    author.posts = ActiveHasMany::Append(vec![]);
    let author = author.save(db).await.unwrap();
    author.delete(db).await.unwrap();
}

/// `links`: whether the links that go along with a post are seen. SeaORM deletes them by one `delete_many`, which runs no
/// hook.
async fn assert_blogging(t: &TestDb, links: bool) {
    assert!(blog::post::Entity::find().all(&t.db).await.unwrap().is_empty());
    let mut all = entries(t).await;
    let links_deleted = all.iter().position(|e| e.action == "delete" && e.resource_type == "post_tag");
    assert_eq!(links_deleted, links.then_some(6));
    if let Some(at) = links_deleted {
        let link = all.remove(at);
        assert_eq!(link.resource_id.as_deref(), Some("1/1"));
        assert_eq!(changes(&link)["tag_id"], json!({"old": 1, "old_label": "rust"}));
    }
    let mut said = kinds(&all);
    // Which of the rows of one list is first, is SeaORM's business.
    let deleted = said.split_off(said.len() - 3);
    assert_eq!(
        said,
        [
            "create author 1",
            "create post 1",
            "create tag 1",
            "create post_tag 1/1",
            "create post 2",
            "update post 2",
            "delete post 1",
            "create post 3",
        ]
    );
    assert_eq!(sorted(deleted), ["delete author 1", "delete post 2", "delete post 3"]);
    assert_eq!(changes(&all[5]), json!({"headline": {"old": "Second", "new": "Second, revised"}}));
    let gone = json!({"id": {"old": 1}, "author_id": {"old": 1}, "headline": {"old": "First"}});
    assert_eq!(changes(&all[6]), gone);
}

db_test!(c2_children_changed_and_removed_through_their_parent_are_recorded, async |t| {
    create_blog(t).await;
    blogging(&t.db).await;
    assert_blogging(t, false).await;
});

db_test!(c2_children_changed_and_removed_over_the_connection_are_recorded, async |t| {
    create_blog(t).await;
    blogging(&connect(t)).await;
    assert_blogging(t, true).await;
});

/// A ship whose sailors may be without a ship: they stay when they leave the list, and when the ship goes.
async fn sailing<C: ConnectionTrait + TransactionTrait>(db: &C) {
    let sailor = |name: &str| crew::sailor::ActiveModel::builder().set_name(name);
    let ship = crew::ship::ActiveModel::builder().set_name("Argo").add_sailor(sailor("Jason"));
    let mut ship = ship.add_sailor(sailor("Orpheus")).save(db).await.unwrap();
    let kept = ship.sailors.as_slice()[0].clone();
    ship.sailors = ActiveHasMany::Replace(vec![kept]);
    ship.save(db).await.unwrap().delete(db).await.unwrap();
}

async fn assert_sailing(t: &TestDb) {
    let all = entries(t).await;
    assert_eq!(
        kinds(&all),
        [
            "create ship 1",
            "create sailor 1",
            "create sailor 2",
            "update sailor 2",
            "update sailor 1",
            "delete ship 1"
        ]
    );
    for entry in &all[3..5] {
        assert_eq!(changes(entry), json!({"ship_id": {"old": 1, "new": null, "old_label": "Argo"}}));
    }
}

db_test!(c2_children_that_stay_without_their_parent_are_recorded, async |t| {
    create_table(t, crew::ship::Entity).await;
    create_table(t, crew::sailor::Entity).await;
    sailing(&t.db).await;
    assert_sailing(t).await;
});

db_test!(c2_children_that_stay_are_recorded_over_the_connection, async |t| {
    create_table(t, crew::ship::Entity).await;
    create_table(t, crew::sailor::Entity).await;
    sailing(&connect(t)).await;
    assert_sailing(t).await;
});
